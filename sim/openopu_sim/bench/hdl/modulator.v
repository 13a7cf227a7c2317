// The panel of the kind that the gateware was built for (`PanelKind`). Each model stores the pattern on show by its
// task `kind.panel.write`, and has laws of its own in `broken`.
module openopu_modulator #(
    parameter KIND = 0, BUS_BITS = 1, ROW_WORD_BITS = 64,
    parameter RST_CLOCKS = 1, SETTLE_CLOCKS = 1,
    parameter WIDTH = 64, HEIGHT = 64,
    parameter H_FRONT = 4, H_SYNC = 4, H_BACK = 8,
    parameter V_FRONT = 1, V_SYNC = 1, V_BACK = 2
) (
    input                 clk,
    input                 de,
    input                 hsync,
    input                 vsync,
    input           [7:0] level,
    input  [BUS_BITS-1:0] bus,         // what the kind has beside video, as `SimulationTop` packs it
    output                answer,      // trigger, or RST_ACTIVE
    input                 exposing,
    output         [31:0] latched,
    output          [7:0] broken
);
    generate
        if (KIND == 3) begin : kind
            openopu_dmd #(
                .WIDTH(WIDTH), .HEIGHT(HEIGHT), .WORD(ROW_WORD_BITS),
                .RST_CLOCKS(RST_CLOCKS), .SETTLE_CLOCKS(SETTLE_CLOCKS)
            ) panel (
                .clk(clk), .dvalid(bus[0]), .data(bus[1 +: ROW_WORD_BITS]), .row_mode(bus[ROW_WORD_BITS+1 +: 2]),
                .row_address(bus[ROW_WORD_BITS+3 +: 11]), .block_mode(bus[ROW_WORD_BITS+14 +: 2]),
                .block_address(bus[ROW_WORD_BITS+16 +: 4]), .rst_active(answer),
                .exposing(exposing), .latched(latched), .broken(broken)
            );
        end else if (KIND == 2) begin : kind
            openopu_packed_panel #(
                .WIDTH(WIDTH), .HEIGHT(HEIGHT), .H_FRONT(H_FRONT), .H_SYNC(H_SYNC), .H_BACK(H_BACK),
                .V_FRONT(V_FRONT), .V_SYNC(V_SYNC), .V_BACK(V_BACK)
            ) panel (
                .pixel_clk(clk), .de(de), .hsync(hsync), .vsync(vsync), .pixel(bus[23:0]), .trigger(answer),
                .exposing(exposing), .latched(latched), .broken(broken)
            );
        end else begin : kind
            openopu_panel #(
                .KIND(KIND), .WIDTH(WIDTH), .HEIGHT(HEIGHT), .H_FRONT(H_FRONT), .H_SYNC(H_SYNC), .H_BACK(H_BACK),
                .V_FRONT(V_FRONT), .V_SYNC(V_SYNC), .V_BACK(V_BACK)
            ) panel (
                .pixel_clk(clk), .de(de), .hsync(hsync), .vsync(vsync), .level(level),
                .exposing(exposing), .latched(latched), .broken(broken)
            );
            assign answer = 0;
        end
    endgenerate
endmodule
