// Model of the serial adapter at the other end of the cable: 8 data bits, no parity, 1 stop bit, with
// a divisor of its own, so that a wrong baud rate is really wrong.
module openopu_uart (
    input             clk,
    input      [15:0] divisor,         // system clocks a bit
    // Bytes to the device.
    input       [7:0] send_data,
    input             send_valid,
    output            send_ready,
    output            send_quiet,      // the line has been idle since the last stop bit
    output            line_out,
    // Bytes from the device. A byte with a broken stop bit is handed over like any other, as adapters do.
    input             line_in,
    output reg  [7:0] receive_data,
    output reg        receive_valid,
    output            receive_quiet
);
    // Transmitter: start bit, 8 bits, stop bit; zeros shifted in from the top mark the end.
    reg [9:0]  out_bits;
    reg [3:0]  out_left;
    reg [15:0] out_wait;
    // The next byte is taken in the last clock of a stop bit, so that a full buffer leaves no gap.
    assign send_ready = out_left == 0 || (out_left == 1 && out_wait == 0);
    assign send_quiet = out_left == 0;
    assign line_out = out_left == 0 ? 1'b1 : out_bits[0];

    // Receiver: waits half a bit from the falling edge, then samples the middle of each bit.
    reg [15:0] in_wait;
    reg [3:0]  in_left;
    reg        line;
    assign receive_quiet = in_left == 0 && line && !receive_valid;

    initial begin
        out_bits = 10'h3ff; out_left = 0; out_wait = 0;
        in_wait = 0; in_left = 0; line = 1; receive_data = 0; receive_valid = 0;
    end

    always @(posedge clk) begin
        if (send_valid && send_ready) begin
            out_bits <= {1'b1, send_data, 1'b0};
            out_left <= 10;
            out_wait <= divisor - 1;
        end else if (out_left != 0) begin
            out_wait <= out_wait - 1;
            if (out_wait == 0) begin
                out_bits <= {1'b1, out_bits[9:1]};
                out_left <= out_left - 1;
                out_wait <= divisor - 1;
            end
        end

        line <= line_in;
        receive_valid <= 0;
        if (in_left == 0) begin
            if (line && !line_in) begin
                in_left <= 10;
                in_wait <= divisor >> 1;
            end
        end else if (in_wait != 0) in_wait <= in_wait - 1;
        else begin
            in_wait <= divisor - 1;
            in_left <= in_left - 1;
            if (in_left == 10 && line) in_left <= 0;         // a glitch, no start bit
            else if (in_left == 1) receive_valid <= 1;
            else if (in_left != 10) receive_data <= {line, receive_data[7:1]};
        end
    end
endmodule
