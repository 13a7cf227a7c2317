// The bench's end of the link: bytes from and to files, by UART or handed over whole.
//
// To the device: Python writes bytes to `input.bin`, sets `input_count`, toggles `input_load`; they go
// out one after the other; `input_empty` says that the last one has been taken.
// From the device: bytes are gathered; a zero byte (end of a packet), a full buffer or a pause writes
// `output.bin` (count, then the bytes, in 32-bit words of the machine's byte order), and pulses `output_written`.
module openopu_link #(
    parameter INPUT_BYTES = 16384, OUTPUT_BYTES = 4096
) (
    input             clk,
    input             bypass,          // 1: bytes by valid and ready, 0: UART
    input      [15:0] divisor,
    input             input_load,
    input      [31:0] input_count,
    output            input_empty,
    output reg        output_written,
    output            quiet,           // nothing under way in either direction
    output reg        broken,          // the device withdrew or changed a byte that it had offered

    output            uart_rx,
    input             uart_tx,
    output      [7:0] bypass_rx_payload,
    output            bypass_rx_valid,
    input             bypass_rx_ready,
    input       [7:0] bypass_tx_payload,
    input             bypass_tx_valid,
    output            bypass_tx_ready
);
    localparam PAUSE = 4095;           // clocks without a byte after which a partial packet is handed on

    reg  [7:0] in_bytes [0:INPUT_BYTES-1];
    reg [31:0] in_next, in_count;
    reg        load_before;
    reg [31:0] out_words [0:OUTPUT_BYTES/4-1];
    reg [31:0] out_count, next;        // `next` is used within one clock only
    reg [11:0] pause;
    reg  [7:0] offered;
    reg        offer_open, due;
    integer    file, i, count;

    wire [7:0] uart_data;
    wire       uart_ready, uart_valid, send_quiet, receive_quiet;
    wire       in_valid = in_next != in_count;
    wire [7:0] in_byte = in_bytes[in_next[$clog2(INPUT_BYTES)-1:0]];
    wire       taken = in_valid && (bypass ? bypass_rx_ready : uart_ready);
    wire       got = bypass ? bypass_tx_valid && bypass_tx_ready : uart_valid;
    wire [7:0] got_byte = bypass ? bypass_tx_payload : uart_data;

    assign input_empty = !in_valid && load_before == input_load;
    assign quiet = input_empty && send_quiet && receive_quiet && out_count == 0 && !output_written
                   && !bypass_tx_valid;
    assign bypass_rx_payload = in_byte;
    assign bypass_rx_valid = bypass && in_valid;
    assign bypass_tx_ready = bypass;

    openopu_uart uart (
        .clk(clk), .divisor(divisor),
        .send_data(in_byte), .send_valid(in_valid && !bypass), .send_ready(uart_ready), .send_quiet(send_quiet),
        .line_out(uart_rx), .line_in(uart_tx),
        .receive_data(uart_data), .receive_valid(uart_valid), .receive_quiet(receive_quiet)
    );

    initial begin
        in_next = 0; in_count = 0; load_before = 0; out_count = 0; pause = 0; output_written = 0;
        offered = 0; offer_open = 0; broken = 0; due = 0;
    end

    always @(posedge clk) begin
        load_before <= input_load;
        output_written <= 0;
        if (load_before != input_load) begin
            file = $fopen("input.bin", "rb");
            count = $fread(in_bytes, file, 0, input_count);
            $fclose(file);
            in_next <= 0;
            in_count <= input_count;
        end else if (taken) in_next <= in_next + 1;

        pause <= pause + 1;
        next = out_count + got;
        due <= due || (got && got_byte == 0) || next >= OUTPUT_BYTES - 4 || (next != 0 && pause == PAUSE);
        if (got) begin
            pause <= 0;
            // Blocking: the write below must already see this byte.
            out_words[out_count >> 2][8*out_count[1:0] +: 8] = got_byte;
        end
        out_count <= next;
        // Python reads the file one clock after `output_written`, so there is no write in two clocks running.
        if (due && !output_written) begin
            file = $fopen("output.bin", "wb");
            $fwrite(file, "%u", next);
            for (i = 0; 4*i < next; i = i + 1) $fwrite(file, "%u", out_words[i]);
            $fclose(file);
            out_count <= 0;
            due <= 0;
            output_written <= 1;
        end

        offer_open <= bypass && bypass_tx_valid && !bypass_tx_ready;
        offered <= bypass_tx_payload;
        if (offer_open && (!bypass_tx_valid || bypass_tx_payload != offered)) broken <= 1;
    end
endmodule
