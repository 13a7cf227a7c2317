// Model of FTDI's FT232H in its asynchronous FIFO mode (data sheet FT_000288 version 2.1, section 4.5, table 4.2), with
// the slowest of its times, each rounded up to whole system clocks.
//
// It takes a byte at the falling edge of WR#, and shows one from the falling to the rising edge of RD#. The USB side
// takes and gives bytes at once: what is modelled is the bus.
module openopu_ft245 #(
    parameter CLOCK_HZ = 48000000
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
    output reg        rxf_n,
    output reg        txe_n,
    input             rd_n,
    input             wr_n,
    output reg  [7:0] to_device,
    input       [7:0] from_device,
    input             device_drives,
    output reg        broken           // a time of the table was not kept, or both sides drove the bus
);
    localparam KHZ = CLOCK_HZ / 1000;
    localparam STATUS = (14 * KHZ + 999999) / 1000000;      // T1, T6: strobe to RXF#, TXE#; T3: RD# to data
    localparam RECOVERY = (49 * KHZ + 999999) / 1000000;    // T2, T7
    localparam PULSE = (30 * KHZ + 999999) / 1000000;       // T4, T10
    localparam HOLD = (5 * KHZ + 999999) / 1000000;         // T8, T9
    localparam OLD = 255;

    // Ages in clocks: how long RD#, WR# and the bus have been as they are, and since WR# fell.
    reg        rd_before, wr_before, drives_before;
    reg  [7:0] data_before, byte_out;
    reg  [7:0] rd_age, wr_age, data_age, write_age;
    wire       rd_falls = rd_before && !rd_n, wr_falls = wr_before && !wr_n;
    wire       data_changes = from_device != data_before || device_drives != drives_before;
    wire [7:0] rd_now = rd_n != rd_before ? 1 : rd_age == OLD ? OLD : rd_age + 1;
    wire [7:0] wr_now = wr_n != wr_before ? 1 : wr_age == OLD ? OLD : wr_age + 1;
    wire [7:0] data_now = data_changes ? 1 : data_age == OLD ? OLD : data_age + 1;
    wire [7:0] write_now = wr_falls ? 1 : write_age == OLD ? OLD : write_age + 1;

    assign send_ready = rd_falls;                           // the byte leaves the chip's FIFO
    assign send_quiet = rd_n && rd_now > STATUS + RECOVERY;
    assign receive_quiet = wr_n && write_now > STATUS + RECOVERY && !receive_valid;

    initial begin
        rxf_n = 1; txe_n = 1; to_device = 0; broken = 0; receive_data = 0; receive_valid = 0;
        rd_before = 1; wr_before = 1; drives_before = 0; data_before = 0; byte_out = 0;
        rd_age = OLD; wr_age = OLD; data_age = OLD; write_age = OLD;
    end

    always @(posedge clk) begin
        rd_before <= rd_n;
        wr_before <= wr_n;
        drives_before <= device_drives;
        data_before <= from_device;
        rd_age <= rd_now;
        wr_age <= wr_now;
        data_age <= data_now;
        write_age <= write_now;

        if (rd_falls) byte_out <= send_data;
        to_device <= !rd_n && rd_now >= STATUS ? (rd_falls ? send_data : byte_out) : 8'ha5;
        if (rd_n && rd_now >= STATUS) rxf_n <= rd_now < STATUS + RECOVERY || !send_valid;
        if (rd_falls && (rxf_n || !send_valid)) broken <= 1;
        if (!rd_before && rd_n && rd_age < PULSE) broken <= 1;
        if (device_drives && (!rd_n || rd_now <= STATUS)) broken <= 1;

        receive_valid <= wr_falls;
        if (wr_falls) receive_data <= from_device;
        if (write_now >= STATUS) txe_n <= write_now < STATUS + RECOVERY;
        if (wr_falls && (txe_n || !device_drives || data_now <= HOLD)) broken <= 1;
        if (!wr_before && wr_n && wr_age < PULSE) broken <= 1;
        if (data_changes && (wr_n ? wr_now <= HOLD : !wr_falls)) broken <= 1;
    end
endmodule
