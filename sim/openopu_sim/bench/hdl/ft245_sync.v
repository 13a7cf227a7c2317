// Model of FTDI's FT232H in its synchronous FIFO mode (data sheet FT_000288 version 2.1, section 4.4): a byte moves at
// each rising edge of CLKOUT at which RXF# and RD#, or TXE# and WR#, are low. Its outputs change with the edge.
//
// Two FIFOs of 1 KiB, as the chip has, cross to the system clock, where the USB side takes and gives bytes.
module openopu_ft245_sync #(
    parameter FIFO_BYTES = 1024
) (
    input             clk,
    // Bytes to the device.
    input       [7:0] send_data,
    input             send_valid,
    output            send_ready,
    output            send_quiet,
    // Bytes from the device.
    output reg  [7:0] receive_data,
    output reg        receive_valid,
    output            receive_quiet,
    // Pins.
    input             clkout,
    output reg        rxf_n,
    output reg        txe_n,
    input             rd_n,
    input             wr_n,
    input             oe_n,
    output reg  [7:0] to_device,
    input       [7:0] from_device,
    input             device_drives,
    output reg        broken           // the bus was driven by both, or turned without a clock between, or RD# before OE#
);
    localparam BITS = $clog2(FIFO_BYTES);
    reg   [7:0] down [0:FIFO_BYTES-1], up [0:FIFO_BYTES-1];
    reg  [BITS:0] down_in, down_out, up_in, up_out;        // one bit more than an address
    reg         oe_before, drives_before;
    integer     next;

    wire [BITS:0] down_count = down_in - down_out, up_count = up_in - up_out;
    assign send_ready = down_count != FIFO_BYTES;
    assign send_quiet = down_count == 0;
    assign receive_quiet = up_count == 0 && !receive_valid;

    initial begin
        down_in = 0; down_out = 0; up_in = 0; up_out = 0; rxf_n = 1; txe_n = 1; to_device = 0; broken = 0;
        receive_data = 0; receive_valid = 0; oe_before = 1; drives_before = 0;
    end

    always @(posedge clk) begin
        if (send_valid && send_ready) begin
            down[down_in[BITS-1:0]] <= send_data;
            down_in <= down_in + 1;
        end
        receive_valid <= up_count != 0;
        if (up_count != 0) begin
            receive_data <= up[up_out[BITS-1:0]];
            up_out <= up_out + 1;
        end
    end

    always @(posedge clkout) begin
        oe_before <= oe_n;
        drives_before <= device_drives;
        if (!rd_n && (oe_n || oe_before)) broken <= 1;
        if (device_drives && (!oe_n || !oe_before)) broken <= 1;
        if (drives_before && !oe_n) broken <= 1;
        if (!wr_n && !device_drives) broken <= 1;

        next = down_out + (!rd_n && !rxf_n);               // blocking: what the outputs below show
        down_out <= next;
        rxf_n <= down_in[BITS:0] == next[BITS:0];
        to_device <= oe_n || down_in[BITS:0] == next[BITS:0] ? 8'h5a : down[next[BITS-1:0]];

        if (!wr_n && !txe_n) begin
            up[up_in[BITS-1:0]] <= from_device;
            up_in <= up_in + 1;
        end
        txe_n <= up_count + (!wr_n && !txe_n) >= FIFO_BYTES - 1;
    end
endmodule
