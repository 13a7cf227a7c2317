// Model of a global-shutter camera in trigger-width mode.
//
// It exposes while `trigger` is high; `ended` pulses after the falling edge with the width in system
// clocks. The bench then computes the frame in no simulated time, writes it to `frame.bin` (16 bits a
// pixel, big-endian, raster order) and toggles `load`. The frame waits in one of two buffers until the
// readout before it has ended, then goes out by FVAL, LVAL, DVAL and pixels in the camera's own clock.
//
// Faults: what is played may differ, by the `play_*` values that are taken over with each load.
module openopu_camera #(
    parameter WIDTH = 80, HEIGHT = 72, PIXEL_BITS = 8
) (
    input                       clk,
    input                       trigger,
    output reg                  ended,
    output reg           [31:0] exposed_cycles,
    input                       load,            // toggles when frame.bin holds the frame of the last exposure
    input                 [7:0] play_times,      // 1; 0 drops the frame, 2 plays it twice
    input                [31:0] play_delay,      // camera clocks from the exposure's end to FVAL
    input                [31:0] play_gap,        // further clocks before the frame is played again
    input                [15:0] play_lines,      // lines of the frame
    input                [15:0] odd_line,        // line whose length is `odd_line_pixels`; 65535: none
    input                [15:0] odd_line_pixels,
    input                [15:0] cut_line,        // line in which FVAL falls after `cut_pixels` pixels; 65535: none
    input                [15:0] cut_pixels,
    input                [15:0] glitch_line,     // line before which FVAL is low for a clock; 65535: none
    input                [15:0] noise_clocks,    // LVAL is high for so long before the frame
    input                 [7:0] dval_pauses,     // DVAL is low in so many of 256 clocks of a line
    input                [15:0] gap_jitter,      // line gaps are longer by up to so many clocks, a power of two
    input                [31:0] stop_after,      // system clocks until the camera's clock stops
    input                [31:0] stop_cycles,     // and for how long; 0: never
    output reg                  stopped,
    output                      quiet,           // nothing to play, in progress or stopped
    output reg                  overrun,         // an exposure ended while both buffers were taken

    input                       pixel_clk,
    input                [15:0] fval_lead,       // clocks from FVAL to the first line, and after the last
    input                [15:0] line_gap,        // clocks between two lines
    output reg                  fval,
    output reg                  lval,
    output reg                  dval,
    output reg [PIXEL_BITS-1:0] pixel
);
    localparam PIXELS = WIDTH * HEIGHT;
    reg           [15:0] frame [0:2*PIXELS-1];
    integer              file, count;

    // System clock: measure the trigger, take frames over.
    reg           trigger_before, load_before;
    reg    [31:0] width;
    reg     [1:0] loads;                         // modulo 4; its lowest bit is the buffer
    reg     [1:0] plays, plays_seen;
    reg     [7:0] times [0:1];
    reg    [31:0] delay [0:1], gap [0:1];
    reg    [15:0] lines [0:1], line_odd [0:1], pixels_odd [0:1];
    reg    [15:0] line_cut [0:1], pixels_cut [0:1], line_glitch [0:1], clocks_noise [0:1], jitter [0:1];
    reg     [7:0] pauses [0:1];
    reg    [31:0] until_stop, until_go;

    assign quiet = !trigger && !trigger_before && !ended && loads == plays_seen && load_before == load
                   && until_stop == 0 && until_go == 0;

    initial begin
        trigger_before = 0; load_before = 0; width = 0; loads = 0; plays = 0; plays_seen = 0;
        ended = 0; exposed_cycles = 0; overrun = 0; stopped = 0; until_stop = 0; until_go = 0;
    end

    always @(posedge clk) begin
        trigger_before <= trigger;
        load_before <= load;
        plays_seen <= plays;
        width <= trigger ? width + 1 : 0;
        ended <= trigger_before && !trigger;
        if (trigger_before && !trigger) exposed_cycles <= width;
        if (load_before != load) begin
            if (loads - plays_seen == 2) overrun <= 1;
            else begin
                file = $fopen("frame.bin", "rb");
                count = $fread(frame, file, loads[0] ? PIXELS : 0, PIXELS);
                $fclose(file);
                times[loads[0]] <= play_times;
                delay[loads[0]] <= play_delay;
                gap[loads[0]] <= play_gap;
                lines[loads[0]] <= play_lines;
                line_odd[loads[0]] <= odd_line;
                pixels_odd[loads[0]] <= odd_line_pixels;
                line_cut[loads[0]] <= cut_line;
                pixels_cut[loads[0]] <= cut_pixels;
                line_glitch[loads[0]] <= glitch_line;
                clocks_noise[loads[0]] <= noise_clocks;
                pauses[loads[0]] <= dval_pauses;
                jitter[loads[0]] <= gap_jitter;
                loads <= loads + 1;
                if (stop_cycles != 0) begin
                    until_stop <= stop_after + 1;
                    until_go <= stop_cycles;
                end
            end
        end
        if (until_stop != 0) begin
            until_stop <= until_stop - 1;
            stopped <= until_stop == 1;
        end else if (until_go != 0) begin
            until_go <= until_go - 1;
            stopped <= until_go != 1;
        end
    end

    // Pixel clock: play.
    localparam IDLE = 0, DELAY = 1, LEAD = 2, ACTIVE = 3, GAP = 4, TRAIL = 5;
    reg     [2:0] state;
    reg     [1:0] loads_seen;
    reg     [7:0] played;
    reg    [31:0] wait_clocks, address;
    reg    [15:0] column, row;
    reg    [15:0] random;                        // LFSR, x^16 + x^14 + x^13 + x^11 + 1
    wire          buffer = plays[0];
    wire          pause = random[7:0] < pauses[buffer];
    wire   [15:0] longer = random & (jitter[buffer] - 1) & {16{jitter[buffer] != 0}};
    wire   [15:0] row_pixels = row == line_odd[buffer] ? pixels_odd[buffer] : WIDTH;

    initial begin
        state = IDLE; loads_seen = 0; played = 0; wait_clocks = 0; address = 0; column = 0; row = 0;
        fval = 0; lval = 0; dval = 0; pixel = 0; random = 1;
    end

    always @(posedge pixel_clk) begin
        loads_seen <= loads;
        random <= {random[14:0], random[15] ^ random[13] ^ random[12] ^ random[10]};
        lval <= 0;
        dval <= 0;
        pixel <= {PIXEL_BITS{1'b1}};             // must not be taken for data
        if (wait_clocks != 0) wait_clocks <= wait_clocks - 1;
        case (state)
            IDLE: if (loads_seen != plays) begin
                played <= 0;
                wait_clocks <= delay[buffer];
                state <= DELAY;
            end
            DELAY: if (played == times[buffer]) begin
                plays <= plays + 1;
                state <= IDLE;
            end else if (wait_clocks != 0) lval <= wait_clocks <= clocks_noise[buffer];
            else begin
                fval <= 1;
                wait_clocks <= fval_lead;
                row <= 0;
                state <= LEAD;
            end
            LEAD, GAP: if (wait_clocks == 0) begin
                fval <= row != line_glitch[buffer];
                column <= 0;
                address <= (buffer ? PIXELS : 0) + (row < HEIGHT ? row : HEIGHT - 1) * WIDTH;
                state <= row == lines[buffer] ? TRAIL : ACTIVE;
            end
            ACTIVE: begin
              fval <= 1;
              lval <= 1;
              if (row == line_cut[buffer] && column == pixels_cut[buffer]) begin
                fval <= 0;
                lval <= 0;
                wait_clocks <= fval_lead;
                state <= TRAIL;
              end else if (!pause) begin
                dval <= 1;
                pixel <= frame[address][PIXEL_BITS-1:0];
                if (column < WIDTH - 1) address <= address + 1;
                column <= column + 1;
                if (column + 1 >= row_pixels) begin
                    row <= row + 1;
                    wait_clocks <= row + 1 == lines[buffer] ? fval_lead : line_gap + longer;
                    state <= row + 1 == lines[buffer] ? TRAIL : GAP;
                end
              end
            end
            TRAIL: if (wait_clocks == 0) begin
                fval <= 0;
                played <= played + 1;
                wait_clocks <= fval_lead + gap[buffer];
                state <= DELAY;
            end
            default: state <= IDLE;
        endcase
    end
endmodule
