// Model of a DMD board in its video pattern mode, such as DLP4500 behind DLPC350: each of the 24 bits of a frame's
// pixels is a binary pattern, shown in turn while the next frame is sent.
//
// Frames are captured by DE into one of two banks. A line after the rising edge of vsync the frame that it ended goes
// on show, bit 0 first: PERIOD clocks a plane, `trigger` high for the first ON of them, dark for the rest. `write`
// (system clock) stores the plane on show in the file `levels.bin`, one byte a pixel in raster order, 255 for on.
// The video never stops: each frame takes the same clocks. A broken law sets its bit in `broken`, for good.
//
// Sources: DLPC350 programmer's guide DLPU010G, table 2-70 (24 planes a frame), LightCrafter 4500 user's guide
// DLPU011E, section 4.1 (one frame of delay; TRIG_OUT_1 frames each pattern's exposure). The share of dark time is
// this model's: in the device it is set by its user.
module openopu_packed_panel #(
    parameter WIDTH = 64, HEIGHT = 64,
    parameter H_FRONT = 4, H_SYNC = 4, H_BACK = 8,
    parameter V_FRONT = 1, V_SYNC = 1, V_BACK = 2,
    parameter DARK_SHARE = 16        // one so-manieth of each slot is dark
) (
    input             pixel_clk,
    input             de,
    input             hsync,
    input             vsync,
    input      [23:0] pixel,
    output reg        trigger,
    input             exposing,      // the pattern on show must not change while this is high
    output reg [31:0] latched,       // frames shown since the start
    output reg  [7:0] broken
);
    localparam PLANES = 24;
    localparam PIXELS = WIDTH * HEIGHT;
    localparam LINE = WIDTH + H_FRONT + H_SYNC + H_BACK;
    localparam FRAME = LINE * (HEIGHT + V_FRONT + V_SYNC + V_BACK);
    localparam PERIOD = FRAME / PLANES;
    localparam ON = PERIOD - PERIOD / DARK_SHARE;
    // Laws, by bit of `broken`.
    localparam LINE_LENGTH = 0, LINE_COUNT = 1, HSYNC_WIDTH = 2, HSYNC_PERIOD = 3,
               VSYNC_WIDTH = 4, VSYNC_PERIOD = 5, SYNC_IN_LINE = 6, CHANGED_IN_EXPOSURE = 7;

    reg [23:0] frame [0:2*PIXELS-1];
    reg        filling, shown;       // banks
    reg [31:0] pixels, column, lines, since_hsync, since_vsync, hsync_length, vsync_length;
    reg [31:0] until_show, left, slot;
    reg        hsync_before, vsync_before, hsync_seen, first;
    reg [31:0] word;
    integer    file, i;

    initial begin
        for (i = 0; i < 2*PIXELS; i = i + 1) frame[i] = 0;
        filling = 0; shown = 1; pixels = 0; column = 0; lines = 0; since_hsync = 0; since_vsync = 0;
        hsync_length = 0; vsync_length = 0; until_show = 0; left = 0; slot = PLANES; word = 0;
        hsync_before = 0; vsync_before = 0; hsync_seen = 0; first = 1; trigger = 0; latched = 0; broken = 0;
    end

    always @(posedge pixel_clk) begin
        hsync_before <= hsync;
        vsync_before <= vsync;
        since_hsync <= hsync && !hsync_before ? 1 : since_hsync + 1;
        since_vsync <= vsync && !vsync_before ? 1 : since_vsync + 1;
        hsync_length <= hsync ? hsync_length + 1 : 0;
        vsync_length <= vsync ? vsync_length + 1 : 0;

        if (de) begin
            if (pixels < PIXELS) frame[(filling ? PIXELS : 0) + pixels] <= pixel;
            pixels <= pixels + 1;
            column <= column + 1;
            if (hsync || vsync) broken[SYNC_IN_LINE] <= 1;
        end
        if (hsync && !hsync_before) begin
            if (column != 0) begin
                if (column != WIDTH) broken[LINE_LENGTH] <= 1;
                lines <= lines + 1;
            end
            column <= 0;
            hsync_seen <= 1;
            if (hsync_seen && since_hsync != LINE) broken[HSYNC_PERIOD] <= 1;
        end
        if (!hsync && hsync_before && hsync_length != H_SYNC) broken[HSYNC_WIDTH] <= 1;
        if (!vsync && vsync_before && vsync_length != V_SYNC * LINE) broken[VSYNC_WIDTH] <= 1;
        if (vsync && !vsync_before) begin
            first <= 0;
            if (!first && since_vsync != FRAME) broken[VSYNC_PERIOD] <= 1;
            if (!first && (lines != HEIGHT || pixels != PIXELS || column != 0)) broken[LINE_COUNT] <= 1;
            else filling <= ~filling;
            pixels <= 0;
            lines <= 0;
            until_show <= LINE;
        end

        // Show what was captured.
        if (until_show != 0) until_show <= until_show - 1;
        if (until_show == 1) begin
            shown <= ~filling;
            slot <= 0;
            left <= PERIOD;
            trigger <= 1;
            latched <= latched + 1;
        end else if (left == 1 && slot < PLANES - 1) begin
            slot <= slot + 1;
            left <= PERIOD;
            trigger <= 1;
        end else if (left != 0) begin
            left <= left - 1;
            if (left == PERIOD - ON + 1) trigger <= 0;
        end
        if (exposing && !trigger) broken[CHANGED_IN_EXPOSURE] <= 1;
    end

    task write;
        begin
            file = $fopen("levels.bin", "wb");
            for (i = 0; i < PIXELS; i = i + 1) begin
                word = {frame[(shown ? PIXELS : 0) + i][slot[4:0]] ? 8'hff : 8'h00, word[31:8]};
                if (i % 4 == 3) $fwrite(file, "%u", word);
            end
            // The last word of a frame whose pixels are no multiple of four is padded on top.
            if (PIXELS % 4 != 0) $fwrite(file, "%u", word >> (8 * (4 - PIXELS % 4)));
            $fclose(file);
        end
    endtask
endmodule
