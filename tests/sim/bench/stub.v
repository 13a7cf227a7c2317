// A device just rich enough to try the bench without the gateware: it echoes bytes (its serial line has a
// divisor of 4), except that an "E" sends a video frame, exposes it, sums the camera's frame, reads the
// monitor and answers with ID, sum and monitor (4 + 4 + 2 bytes, little-endian) and a zero byte.
// "A" enables the laser and sends code 0x5a5 to the DAC, "D" disables it; the laser trips by itself after 50,000 clocks.
module openopu_sim_top (
    input clk, input rst, input slm_clk, input cam_clk, input ft_clk, input [2:0] link,
    input uart_rx, output uart_tx,
    input ft_rxf_n, input ft_txe_n, input [7:0] ft_data_i, input ft_pwren_n, output ft_rd_n, output ft_wr_n, output ft_oe_n,
    output [7:0] ft_data_o, output ft_data_oe,
    input [7:0] bypass_rx_payload, input bypass_rx_valid, output bypass_rx_ready,
    output [7:0] bypass_tx_payload, output bypass_tx_valid, input bypass_tx_ready,
    output reg slm_de, output reg slm_hsync, output reg slm_vsync, output reg [7:0] slm_level,
    output slm_bus, input slm_return,
    output reg cam_trigger, input cam_fval, input cam_lval, input cam_dval, input [7:0] cam_pixel,
    input i2c_scl_i, output i2c_scl_oe, input i2c_sda_i, output i2c_sda_oe,
    input interlock_closed, output reg laser_enable,
    output reg dac_cs_n, output reg dac_sck, output dac_sdi,
    output bias_cs_n, output bias_sck, output bias_sdi,
    output [1:0] adc_cs_n, output reg adc_sck, output adc_sdi, input adc_dout,
    output reg [31:0] exposure_id, output exposure_active, output idle
);
    localparam W = 64, H = 64, HF = 4, HS = 4, HB = 8, LINE = W + HF + HS + HB, LINES = H + 1 + 1 + 2;
    localparam WAIT = 0, VIDEO = 1, EXPOSE = 2, READOUT = 3, CONVERT = 4;
    reg  [7:0] queue [0:4095];
    reg [11:0] head, tail;
    reg  [2:0] state;
    reg [15:0] timer;
    reg [31:0] sum, since;
    reg [15:0] word;
    reg [11:0] monitor;
    wire       bypass = link == 1;
    assign {ft_rd_n, ft_wr_n, ft_oe_n, ft_data_oe, ft_data_o} = {4'b1110, 8'b0};
    wire [7:0] uart_data;
    wire       uart_valid, uart_ready, send_quiet, receive_quiet;
    wire       got = bypass ? bypass_rx_valid && bypass_rx_ready : uart_valid;
    wire [7:0] byte_in = bypass ? bypass_rx_payload : uart_data;
    wire       waiting = head != tail;
    integer    i;

    openopu_uart uart (
        .clk(clk), .divisor(16'd4), .send_data(queue[tail]), .send_valid(waiting && !bypass), .send_ready(uart_ready),
        .send_quiet(send_quiet), .line_out(uart_tx), .line_in(uart_rx), .receive_data(uart_data),
        .receive_valid(uart_valid), .receive_quiet(receive_quiet)
    );
    assign bypass_rx_ready = state == WAIT;
    assign bypass_tx_valid = bypass && waiting;
    assign bypass_tx_payload = queue[tail];
    assign exposure_active = cam_trigger;
    assign idle = state == WAIT && !waiting && send_quiet && receive_quiet;
    assign slm_bus = 0;
    assign i2c_scl_oe = 0;
    assign i2c_sda_oe = 0;
    assign dac_sdi = word[15];
    assign bias_cs_n = 1, bias_sck = 0, bias_sdi = 0, adc_sdi = 0;
    reg convert_n;
    assign adc_cs_n = {1'b1, convert_n};

    // Video: one frame each time that `go` toggles.
    reg        go, gone;
    reg [15:0] x, y;
    initial begin
        go = 0; gone = 0; x = 0; y = 0; slm_de = 0; slm_hsync = 0; slm_vsync = 0; slm_level = 0; cam_trigger = 0;
        laser_enable = 0; dac_cs_n = 1; dac_sck = 0; convert_n = 1; adc_sck = 0; exposure_id = 32'hffffffff;
        head = 0; tail = 0; state = WAIT; timer = 0; sum = 0; since = 0; word = 0; monitor = 0;
    end
    always @(posedge slm_clk) begin
        slm_de <= 0;
        slm_hsync <= 0;
        if (go != gone) begin
            x <= x == LINE - 1 ? 0 : x + 1;
            if (x == LINE - 1) y <= y == LINES - 1 ? 0 : y + 1;
            if (x == LINE - 1 && y == LINES - 1) gone <= go;
            slm_de <= x < W && y < H;
            slm_level <= x + 3 * y + exposure_id;
            slm_hsync <= x >= W + HF && x < W + HF + HS;
            slm_vsync <= y == H + 1;
        end
    end

    reg lval_before;
    always @(posedge cam_clk) begin
        lval_before <= cam_fval;
        if (cam_fval && !lval_before) sum <= 0;
        else if (cam_fval && cam_lval) sum <= sum + cam_pixel;
    end

    reg fval, fval_before;
    always @(posedge clk) begin
        timer <= timer + 1;
        fval <= cam_fval;
        fval_before <= fval;
        since <= since + 1;
        if (waiting && (bypass ? bypass_tx_ready : uart_ready)) tail <= tail + 1;
        if (laser_enable && since == 50000) laser_enable <= 0;
        case (state)
            WAIT: if (got) begin
                timer <= 0;
                if (byte_in == "E") begin
                    go <= !go;
                    exposure_id <= exposure_id + 1;
                    state <= VIDEO;
                end else begin
                    queue[head] <= byte_in;
                    head <= head + 1;
                end
                if (byte_in == "A") begin
                    laser_enable <= interlock_closed;
                    since <= 0;
                    word <= 16'h35a5;
                end
                if (byte_in == "D") laser_enable <= 0;
            end
            VIDEO: if (gone == go && timer > 8) begin
                cam_trigger <= 1;
                timer <= 0;
                state <= EXPOSE;
            end
            EXPOSE: if (timer == 99) begin
                cam_trigger <= 0;
                timer <= 0;
                state <= READOUT;
            end
            READOUT: if ((fval_before && !fval) || timer == 30000) begin
                timer <= 0;
                convert_n <= 0;
                state <= CONVERT;
            end
            CONVERT: begin
                // 16 clocks to each half of the ADC's clock; the bits are taken at rising edges 3 to 14.
                if (timer % 16 == 15) begin
                    adc_sck <= !adc_sck;
                    if (!adc_sck) monitor <= {monitor[10:0], adc_dout};
                end
                if (timer == 32 * 15 - 8) begin
                    convert_n <= 1;
                    adc_sck <= 0;
                    state <= WAIT;
                    for (i = 0; i < 4; i = i + 1) begin
                        queue[(head + i) % 4096] <= exposure_id[8*i +: 8];
                        queue[(head + 4 + i) % 4096] <= sum[8*i +: 8];
                    end
                    queue[(head + 8) % 4096] <= monitor[7:0];
                    queue[(head + 9) % 4096] <= monitor[11:8];
                    queue[(head + 10) % 4096] <= 0;
                    head <= head + 11;
                end
            end
            default: state <= WAIT;
        endcase
        // The DAC's word: two clocks to each half of its clock.
        if (word != 0 && laser_enable && since < 16 * 4 + 4) begin
            dac_cs_n <= since >= 16 * 4 + 2;
            dac_sck <= since[1] && since < 16 * 4;
            if (since[1:0] == 0 && since != 0) word <= word << 1;
        end else dac_cs_n <= 1;
    end
endmodule
