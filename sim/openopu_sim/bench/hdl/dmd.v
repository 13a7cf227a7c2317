// Model of a DMD behind a row-addressed controller, such as DLP7000 behind DLPC410, seen from its input bus.
//
// A row cycle is ceil(WIDTH / WORD) clocks with DVALID high; it writes a row of the memory below the mirrors
// (ROW_MODE 2: at ROW_ADDRESS; 1: the next one; 3: row 0), or nothing (0). BLOCK_MODE 3 with address 8 resets
// all blocks: the mirrors take over the memory, and RST_ACTIVE is high for RST_CLOCKS of row cycles (4.5 us).
// For SETTLE_CLOCKS (8 us) after it no row may be written. `write` (system clock) stores the mirrors in the file
// `levels.bin`, one byte a pixel in raster order, 255 for on. A broken law sets its bit in `broken`, for good.
//
// Sources: DLPC410 data sheet DLPS024 (row cycles, 16 clocks at 400 MHz for 1024 columns), DLPC910 data sheet (row
// modes, table 7-1; RST_ACTIVE falls only while row cycles are sent), E2E thread 322935 (4.5 us, then 8 us).
// The code of the global reset is from memory, unconfirmed.
module openopu_dmd #(
    parameter WIDTH = 1024, HEIGHT = 768, WORD = 64, RST_CLOCKS = 450, SETTLE_CLOCKS = 800
) (
    input             clk,
    input             dvalid,
    input  [WORD-1:0] data,
    input       [1:0] row_mode,
    input      [10:0] row_address,
    input       [1:0] block_mode,
    input       [3:0] block_address,
    output reg        rst_active,
    input             exposing,      // the pattern on show must not change while this is high
    output reg [31:0] latched,       // resets since the start
    output reg  [7:0] broken
);
    localparam CYCLE = (WIDTH + WORD - 1) / WORD;
    localparam PIXELS = WIDTH * HEIGHT;
    localparam RST_DELAY = 4;        // clocks from the end of the row cycle to RST_ACTIVE
    // Laws, by bit of `broken`.
    localparam ROW_PAUSED = 0, MODE_CHANGED = 1, ROW_ADDRESS = 2, WRITTEN_UNSETTLED = 3,
               RESET_ACTIVE = 4, BLOCK_MODE = 5, ROWS_MISSING = 6, CHANGED_IN_EXPOSURE = 7;

    reg [WIDTH-1:0]      memory [0:HEIGHT-1];
    reg [WIDTH-1:0]      mirrors [0:HEIGHT-1];
    reg [CYCLE*WORD-1:0] row;
    reg [31:0] column, written, active, settle, next_row;
    reg [18:0] modes;                // those of the cycle under way
    wire [18:0] modes_now = {row_mode, row_address, block_mode, block_address};
    wire [31:0] target = row_mode == 2 ? {21'b0, row_address} : row_mode == 3 ? 0 : next_row;
    reg [31:0] word;
    integer    file, i, x, y;

    initial begin
        for (i = 0; i < HEIGHT; i = i + 1) begin memory[i] = 0; mirrors[i] = 0; end
        row = 0; column = 0; written = 0; active = 0; settle = 0; next_row = 0; modes = 0; word = 0;
        rst_active = 0; latched = 0; broken = 0;
    end

    always @(posedge clk) begin
        rst_active <= active != 0 && active <= RST_CLOCKS;
        if (active != 0) begin
            // Falls only while row cycles are sent.
            if (dvalid || active > RST_CLOCKS) active <= active - 1;
            settle <= SETTLE_CLOCKS;
        end else if (settle != 0) settle <= settle - 1;
        if (exposing && active != 0) broken[CHANGED_IN_EXPOSURE] <= 1;

        if (!dvalid) begin
            if (column != 0) broken[ROW_PAUSED] <= 1;
        end else begin
            if (column == 0) modes <= modes_now;
            else if (modes != modes_now) broken[MODE_CHANGED] <= 1;
            row = {data, row} >> WORD;
            column <= column + 1;
            if (column == CYCLE - 1) begin
                column <= 0;
                if (row_mode != 0) begin
                    if (target >= HEIGHT) broken[ROW_ADDRESS] <= 1;
                    else memory[target] = row[WIDTH-1:0];
                    if (active != 0 || settle != 0) broken[WRITTEN_UNSETTLED] <= 1;
                    next_row <= target + 1;
                    written <= written + 1;
                end
                if (block_mode == 3 && block_address == 8) begin
                    if (active != 0 || settle != 0) broken[RESET_ACTIVE] <= 1;
                    if (written != HEIGHT) broken[ROWS_MISSING] <= 1;
                    if (exposing) broken[CHANGED_IN_EXPOSURE] <= 1;
                    for (i = 0; i < HEIGHT; i = i + 1) mirrors[i] = memory[i];
                    active <= RST_CLOCKS + RST_DELAY;
                    latched <= latched + 1;
                    written <= 0;
                end else if (block_mode != 0) broken[BLOCK_MODE] <= 1;
            end
        end
    end

    task write;
        begin
            file = $fopen("levels.bin", "wb");
            x = 0;
            y = 0;
            for (i = 0; i < PIXELS; i = i + 1) begin
                word = {mirrors[y][x] ? 8'hff : 8'h00, word[31:8]};
                if (i % 4 == 3) $fwrite(file, "%u", word);
                x = x + 1;
                if (x == WIDTH) begin
                    x = 0;
                    y = y + 1;
                end
            end
            // The last word of a pattern whose pixels are no multiple of four is padded on top.
            if (PIXELS % 4 != 0) $fwrite(file, "%u", word >> (8 * (4 - PIXELS % 4)));
            $fclose(file);
        end
    endtask
endmodule
