// Model of an SLM panel, seen from its video port.
//
// Frames are captured by DE into one of two banks; the rising edge of vsync swaps the banks, so the
// whole panel changes at once. `write` (system clock) stores the frame on show in the file
// `levels.bin`, one byte a pixel in raster order. Video timing is checked passively; a broken law sets
// its bit in `broken`, for good.
//
// KIND 0, video on demand (global reset): no vertical sync may come during an exposure. A line may
// pause (DE low between two pixels of it): that is no law.
// KIND 1, continuous video (a display): from the first vertical sync on, every signal of the raster has
// its one place, for ever. A display may show a pixel as soon as it has it, so every pixel that is sent
// during an exposure must be the one on show.
module openopu_panel #(
    parameter KIND = 0,
    parameter WIDTH = 64, HEIGHT = 64,
    parameter H_FRONT = 4, H_SYNC = 4, H_BACK = 8,
    parameter V_FRONT = 1, V_SYNC = 1, V_BACK = 2
) (
    input             pixel_clk,
    input             de,
    input             hsync,
    input             vsync,
    input       [7:0] level,
    input             exposing,      // the pattern on show must not change while this is high
    output reg [31:0] latched,       // frames latched since the start
    output reg  [7:0] broken
);
    localparam PIXELS = WIDTH * HEIGHT;
    localparam WORDS = (PIXELS + 3) / 4;
    localparam LINE = WIDTH + H_FRONT + H_SYNC + H_BACK;
    // Laws, by bit of `broken`.
    localparam LINE_LENGTH = 0, LINE_COUNT = 1, HSYNC_WIDTH = 2, HSYNC_PLACE = 3,
               VSYNC_WIDTH = 4, VSYNC_PLACE = 5, PIXEL_PLACE = 6, CHANGED_IN_EXPOSURE = 7;

    // Four pixels a word, so that a frame crosses to the file in few calls.
    reg [31:0] frame [0:2*WORDS-1];
    reg        shown;                // bank on show
    reg [31:0] pixels;               // pixels of the frame under way
    reg [23:0] gathered;
    reg [31:0] column, lines;
    reg [31:0] since_pixel, since_hsync, since_vsync, hsync_length, vsync_length;
    reg        hsync_before, vsync_before;
    // Where in the raster the next clock is; a line is counted from its hsync on, a frame from its vsync on.
    reg        locked;
    reg [31:0] raster_x, raster_y;
    wire       vsync_due = raster_y < V_SYNC;
    wire       hsync_due = raster_x < H_SYNC;
    wire       de_due = raster_y >= V_SYNC + V_BACK && raster_y < V_SYNC + V_BACK + HEIGHT &&
                        raster_x >= H_SYNC + H_BACK && raster_x < H_SYNC + H_BACK + WIDTH;
    reg [31:0] word;
    integer    file, i;

    initial begin
        word = 0; locked = 0; raster_x = 0; raster_y = 0;
        for (i = 0; i < 2*WORDS; i = i + 1) frame[i] = 0;
        shown = 0; pixels = 0; gathered = 0; column = 0; lines = 0; latched = 0; broken = 0;
        since_pixel = 0; since_hsync = 0; since_vsync = 0; hsync_length = 0; vsync_length = 0;
        hsync_before = 0; vsync_before = 0;
    end

    always @(posedge pixel_clk) begin
        hsync_before <= hsync;
        vsync_before <= vsync;
        since_pixel <= de ? 0 : since_pixel + 1;
        since_hsync <= hsync ? 0 : since_hsync + 1;
        since_vsync <= vsync ? 0 : since_vsync + 1;
        hsync_length <= hsync ? hsync_length + 1 : 0;
        vsync_length <= vsync ? vsync_length + 1 : 0;

        if (de) begin
            if (pixels < PIXELS) begin
                // The last word of a frame whose pixels are no multiple of four is padded on top.
                word = pixels[1:0] == 3 ? {level, gathered} :
                       pixels[1:0] == 2 ? {8'b0, level, gathered[23:8]} :
                       pixels[1:0] == 1 ? {16'b0, level, gathered[23:16]} : {24'b0, level};
                if (pixels[1:0] == 3 || pixels == PIXELS - 1) begin
                    frame[{31'b0, ~shown} * WORDS + (pixels >> 2)] <= word;
                    if (KIND == 1 && exposing && frame[{31'b0, shown} * WORDS + (pixels >> 2)] != word)
                        broken[CHANGED_IN_EXPOSURE] <= 1;
                end
                gathered <= {level, gathered[23:8]};
                pixels <= pixels + 1;
            end
            column <= column + 1;
            if (hsync || vsync) broken[PIXEL_PLACE] <= 1;
            if (column == 0) begin
                if (lines != 0 && since_hsync < H_BACK) broken[HSYNC_PLACE] <= 1;
                if (lines == 0 && latched != 0 && since_vsync < V_BACK * LINE) broken[VSYNC_PLACE] <= 1;
            end
        end

        if (hsync && !hsync_before && column != 0) begin
            if (column != WIDTH) broken[LINE_LENGTH] <= 1;
            if (since_pixel != H_FRONT) broken[HSYNC_PLACE] <= 1;
            column <= 0;
            lines <= lines + 1;
        end
        if (!hsync && hsync_before && hsync_length != H_SYNC) broken[HSYNC_WIDTH] <= 1;

        if (vsync && !vsync_before) begin
            // A frame that is not whole is not shown. Continuous video begins anywhere.
            if (lines == HEIGHT && pixels == PIXELS && column == 0) shown <= ~shown;
            else if (KIND == 0 || locked) broken[LINE_COUNT] <= 1;
            if ((KIND == 0 || locked) && since_pixel < V_FRONT * LINE) broken[VSYNC_PLACE] <= 1;
            if (KIND == 0 && exposing) broken[CHANGED_IN_EXPOSURE] <= 1;
            latched <= latched + 1;
            lines <= 0;
            column <= 0;
            pixels <= 0;
        end
        if (!vsync && vsync_before && vsync_length != V_SYNC * LINE)
            broken[VSYNC_WIDTH] <= 1;

        if (KIND == 1) begin
            if (locked && vsync != vsync_due) broken[VSYNC_PLACE] <= 1;
            if (locked && hsync != hsync_due) broken[HSYNC_PLACE] <= 1;
            if (locked && de != de_due) broken[PIXEL_PLACE] <= 1;
            if (!locked && vsync && !vsync_before) begin
                locked <= 1;
                raster_x <= 1;
                raster_y <= 0;
            end
            else if (raster_x != LINE - 1) raster_x <= raster_x + 1;
            else begin
                raster_x <= 0;
                raster_y <= raster_y != HEIGHT + V_FRONT + V_SYNC + V_BACK - 1 ? raster_y + 1 : 0;
            end
        end
    end

    task write;
        begin
            file = $fopen("levels.bin", "wb");
            for (i = 0; i < WORDS; i = i + 1) $fwrite(file, "%u", frame[(shown ? WORDS : 0) + i]);
            $fclose(file);
        end
    endtask
endmodule
