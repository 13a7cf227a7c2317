// The bench around the simulation's netlist, the same for every simulator.
//
// Python is woken by `attention` only: it toggles when an exposure has ended (or begun unforeseen), bytes from the device lie
// in `output.bin`, the bytes for the device are used up, all has come to rest, a law is broken, or
// nothing of this happened for `tick_cycles`. `status` says why. What Python answers (a frame, a
// monitor value, more bytes) is set in the same instant, so that waiting takes no simulated time.
//
// Clocks are inputs where the simulator's own main program drives them, else (OPENOPU_HDL_CLOCKS) they
// are made here. Half periods in ps come by +clk_half=, +slm_half=, +cam_half=, +ft_half= (0: it stands still),
// and the camera's clock stands still while `cam_stopped` is high.
`timescale 1ps / 1ps
module openopu_bench #(
    parameter CLOCK_HZ = 48000000,
    parameter SLM_WIDTH = 64, SLM_HEIGHT = 64,
    parameter SLM_H_FRONT = 4, SLM_H_SYNC = 4, SLM_H_BACK = 8,
    parameter SLM_V_FRONT = 1, SLM_V_SYNC = 1, SLM_V_BACK = 2,
    parameter SLM_KIND = 0, SLM_BUS_BITS = 1, ROW_WORD_BITS = 64, RST_CLOCKS = 1, SETTLE_CLOCKS = 1,
    parameter CAMERA_WIDTH = 80, CAMERA_HEIGHT = 72, PIXEL_BITS = 8
) (
`ifndef OPENOPU_HDL_CLOCKS
    input      clk,
    input      slm_clk,
    input      cam_clk,
    input      ft_clk,
`endif
    output reg attention,
    output     cam_stopped
);
    localparam SOON = 512;             // clocks after which Python looks for the host's answer to what it got
    localparam REST = 64;              // clocks of quiet after which all has come to rest, more than any synchroniser

`ifdef OPENOPU_HDL_CLOCKS
    reg     clk, slm_clk, cam_clk, ft_clk;
    integer clk_half, slm_half, cam_half, ft_half;
    initial begin
        clk = 0; slm_clk = 0; cam_clk = 0; ft_clk = 0;
        if (!$value$plusargs("clk_half=%d", clk_half)) $finish;
        if (!$value$plusargs("slm_half=%d", slm_half)) $finish;
        if (!$value$plusargs("cam_half=%d", cam_half)) $finish;
        if (!$value$plusargs("ft_half=%d", ft_half)) $finish;
        fork
            forever #clk_half clk = !clk;
            forever #slm_half slm_clk = !slm_clk;
            forever #cam_half if (!cam_stopped) cam_clk = !cam_clk;
            if (ft_half != 0) forever #ft_half ft_clk = !ft_clk;
        join
    end
`endif

    // Set by Python. `bench.vlt` makes these, and what Python reads, visible to it.
    reg  [2:0] link_kind;
    reg        interlock_closed;
    reg        line_break;             // the link is reset: the serial line is low, PWREN# is high; its models go on
    reg [15:0] host_divisor;
    reg        input_load;
    reg [31:0] input_count;
    reg        frame_load;
    reg [11:0] light;                  // what the photodiode reads from now on: `light_set` toggles with it
    reg        light_set;
    reg        light_exposure;         // `light` is that of the exposure that has begun, else of the time between
    reg [11:0] light_code;             // code of the power DAC that `light` was made for
    reg [11:0] ahead_light;            // what it reads in the exposure after the last one, if
    reg [12:0] ahead_code;             // the power DAC's code is this then
    reg [11:0] temperature;
    reg  [7:0] play_times;
    reg [31:0] play_delay;
    reg [31:0] play_gap;
    reg [15:0] play_lines;
    reg [15:0] odd_line;
    reg [15:0] odd_line_pixels;
    reg [15:0] cut_line;
    reg [15:0] cut_pixels;
    reg [15:0] glitch_line;
    reg [15:0] noise_clocks;
    reg  [7:0] dval_pauses;
    reg [15:0] gap_jitter;
    reg [31:0] stop_after;
    reg [31:0] stop_cycles;
    reg [15:0] fval_lead;
    reg [15:0] line_gap;
    reg [31:0] tick_cycles;
    reg        sensor_present, sensor_stuck, sensor_wide_register, sensor_wide_value;
    reg  [6:0] sensor_address;
    reg [15:0] sensor_id_register, sensor_id_value;

    // The same, a clock later. What Python can set is an input to Verilator: logic that depended on it without a
    // register would be computed again at every edge of any clock.
    reg  [2:0] link_now;
    reg        interlock_now, break_now, input_load_now, frame_load_now;
    reg [15:0] divisor_now;
    reg [31:0] input_count_now, tick_now;
    reg        light_set_now, light_set_before, light_exposure_now;
    reg [11:0] adc_now, light_now, light_code_now, lit_code, ahead_light_now, temperature_now;
    reg [12:0] ahead_code_now;
    always @(posedge clk) begin
        link_now <= link_kind;
        interlock_now <= interlock_closed;
        break_now <= line_break;
        input_load_now <= input_load;
        input_count_now <= input_count;
        frame_load_now <= frame_load;
        divisor_now <= host_divisor;
        light_now <= light;
        light_set_now <= light_set;
        light_exposure_now <= light_exposure;
        light_code_now <= light_code;
        ahead_light_now <= ahead_light;
        ahead_code_now <= ahead_code;
        temperature_now <= temperature;
        tick_now <= tick_cycles;
    end

    // Read by Python.
    reg [31:0] status;                 // see below
    reg [31:0] exposed_id;
    reg [31:0] exposed_settle;         // clocks that the shot has settled for, without what it waited for the camera
    reg [31:0] broken;                 // laws that the device broke, or the bench itself
    reg [31:0] cycles;
    wire [31:0] exposed_cycles;
    wire [11:0] dac_code, bias_code;

    reg        rst;
    reg  [4:0] reset_left;
    wire       uart_rx, uart_tx, bypass_rx_valid, bypass_rx_ready, bypass_tx_valid, bypass_tx_ready;
    wire [7:0] bypass_rx_payload, bypass_tx_payload, ft_to_device, ft_from_device;
    wire       ft_rxf_n, ft_txe_n, ft_rd_n, ft_wr_n, ft_oe_n, ft_device_drives;
    wire       slm_de, slm_hsync, slm_vsync, cam_trigger, cam_fval, cam_lval, cam_dval;
    wire [7:0] slm_level;
    wire [SLM_BUS_BITS-1:0] slm_bus;
    wire       slm_return;
    wire [PIXEL_BITS-1:0] cam_pixel;
    wire       laser_enable, dac_cs_n, dac_sck, dac_sdi, bias_cs_n, bias_sck, bias_sdi;
    wire       adc_sck, adc_sdi, photodiode_dout, thermometer_dout;
    wire [1:0] adc_cs_n;
    wire [31:0] exposure_id;
    wire       exposure_active, idle;
    wire       i2c_scl, i2c_sda, i2c_scl_oe, i2c_sda_oe, sensor_sda_low;

    openopu_sim_top dut (
        .clk(clk), .rst(rst), .slm_clk(slm_clk), .cam_clk(cam_clk), .ft_clk(ft_clk), .link(link_now),
        .uart_rx(uart_rx && !break_now), .uart_tx(uart_tx),
        .ft_rxf_n(ft_rxf_n), .ft_txe_n(ft_txe_n), .ft_data_i(ft_to_device), .ft_pwren_n(break_now),
        .ft_rd_n(ft_rd_n), .ft_wr_n(ft_wr_n), .ft_oe_n(ft_oe_n), .ft_data_o(ft_from_device), .ft_data_oe(ft_device_drives),
        .bypass_rx_payload(bypass_rx_payload), .bypass_rx_valid(bypass_rx_valid), .bypass_rx_ready(bypass_rx_ready),
        .bypass_tx_payload(bypass_tx_payload), .bypass_tx_valid(bypass_tx_valid), .bypass_tx_ready(bypass_tx_ready),
        .slm_de(slm_de), .slm_hsync(slm_hsync), .slm_vsync(slm_vsync), .slm_level(slm_level),
        .slm_bus(slm_bus), .slm_return(slm_return),
        .cam_trigger(cam_trigger), .cam_fval(cam_fval), .cam_lval(cam_lval), .cam_dval(cam_dval),
        .cam_pixel(cam_pixel),
        .i2c_scl_i(i2c_scl), .i2c_scl_oe(i2c_scl_oe), .i2c_sda_i(i2c_sda), .i2c_sda_oe(i2c_sda_oe),
        .interlock_closed(interlock_now), .laser_enable(laser_enable),
        .dac_cs_n(dac_cs_n), .dac_sck(dac_sck), .dac_sdi(dac_sdi),
        .bias_cs_n(bias_cs_n), .bias_sck(bias_sck), .bias_sdi(bias_sdi),
        .adc_cs_n(adc_cs_n), .adc_sck(adc_sck), .adc_sdi(adc_sdi),
        .adc_dout(photodiode_dout && thermometer_dout),   // one line, pulled up; who is not selected lets go of it
        .exposure_id(exposure_id), .exposure_active(exposure_active), .idle(idle)
    );

    wire       exposure_ended, camera_quiet, camera_overrun;
    wire       input_empty, output_written, link_quiet, link_broken, dac_broken, bias_broken, photodiode_broken, thermometer_broken;
    wire [7:0] panel_broken;
    wire [31:0] panel_latched;

    openopu_modulator #(
        .KIND(SLM_KIND), .BUS_BITS(SLM_BUS_BITS), .ROW_WORD_BITS(ROW_WORD_BITS),
        .RST_CLOCKS(RST_CLOCKS), .SETTLE_CLOCKS(SETTLE_CLOCKS),
        .WIDTH(SLM_WIDTH), .HEIGHT(SLM_HEIGHT), .H_FRONT(SLM_H_FRONT), .H_SYNC(SLM_H_SYNC), .H_BACK(SLM_H_BACK),
        .V_FRONT(SLM_V_FRONT), .V_SYNC(SLM_V_SYNC), .V_BACK(SLM_V_BACK)
    ) modulator (
        .clk(slm_clk), .de(slm_de), .hsync(slm_hsync), .vsync(slm_vsync), .level(slm_level),
        .bus(slm_bus), .answer(slm_return),
        .exposing(exposure_active), .latched(panel_latched), .broken(panel_broken)
    );

    openopu_camera #(.WIDTH(CAMERA_WIDTH), .HEIGHT(CAMERA_HEIGHT), .PIXEL_BITS(PIXEL_BITS)) camera (
        .clk(clk), .trigger(cam_trigger), .ended(exposure_ended), .exposed_cycles(exposed_cycles), .load(frame_load_now),
        .play_times(play_times), .play_delay(play_delay), .play_gap(play_gap), .play_lines(play_lines),
        .odd_line(odd_line), .odd_line_pixels(odd_line_pixels), .cut_line(cut_line), .cut_pixels(cut_pixels),
        .glitch_line(glitch_line), .noise_clocks(noise_clocks), .dval_pauses(dval_pauses), .gap_jitter(gap_jitter),
        .stop_after(stop_after), .stop_cycles(stop_cycles),
        .stopped(cam_stopped), .quiet(camera_quiet), .overrun(camera_overrun),
        .pixel_clk(cam_clk), .fval_lead(fval_lead), .line_gap(line_gap),
        .fval(cam_fval), .lval(cam_lval), .dval(cam_dval), .pixel(cam_pixel)
    );

    // Open drain. This sensor stretches no clock.
    assign i2c_scl = !i2c_scl_oe;
    assign i2c_sda = !(i2c_sda_oe || sensor_sda_low);
    openopu_i2c_sensor sensor (
        .clk(clk), .scl(i2c_scl), .sda(i2c_sda), .sda_low(sensor_sda_low),
        .present(sensor_present), .stuck(sensor_stuck), .address(sensor_address),
        .wide_register(sensor_wide_register), .wide_value(sensor_wide_value),
        .id_register(sensor_id_register), .id_value(sensor_id_value)
    );

    openopu_link #(.CLOCK_HZ(CLOCK_HZ)) link (
        .clk(clk), .ft_clk(ft_clk), .kind(link_now), .divisor(divisor_now),
        .input_load(input_load_now), .input_count(input_count_now), .input_empty(input_empty),
        .output_written(output_written), .quiet(link_quiet), .broken(link_broken),
        .uart_rx(uart_rx), .uart_tx(uart_tx),
        .ft_rxf_n(ft_rxf_n), .ft_txe_n(ft_txe_n), .ft_to_device(ft_to_device), .ft_rd_n(ft_rd_n), .ft_wr_n(ft_wr_n),
        .ft_oe_n(ft_oe_n), .ft_from_device(ft_from_device), .ft_device_drives(ft_device_drives),
        .bypass_rx_payload(bypass_rx_payload), .bypass_rx_valid(bypass_rx_valid), .bypass_rx_ready(bypass_rx_ready),
        .bypass_tx_payload(bypass_tx_payload), .bypass_tx_valid(bypass_tx_valid), .bypass_tx_ready(bypass_tx_ready)
    );

    openopu_mcp4921 #(.CLOCK_HZ(CLOCK_HZ)) dac (
        .clk(clk), .cs_n(dac_cs_n), .sck(dac_sck), .sdi(dac_sdi), .code(dac_code), .broken(dac_broken)
    );
    openopu_mcp4921 #(.CLOCK_HZ(CLOCK_HZ)) bias (
        .clk(clk), .cs_n(bias_cs_n), .sck(bias_sck), .sdi(bias_sdi), .code(bias_code), .broken(bias_broken)
    );
    openopu_mcp3201 #(.CLOCK_HZ(CLOCK_HZ)) photodiode (
        .clk(clk), .value(adc_now), .cs_n(adc_cs_n[0]), .sck(adc_sck), .dout(photodiode_dout),
        .broken(photodiode_broken)
    );
    openopu_mcp3201 #(.CLOCK_HZ(CLOCK_HZ)) thermometer (
        .clk(clk), .value(temperature_now), .cs_n(adc_cs_n[1]), .sck(adc_sck), .dout(thermometer_dout),
        .broken(thermometer_broken)
    );

    // No pin tells it. A device of another make shows nothing of its inside: its panel is an instant one.
`ifdef OPENOPU_FOREIGN
    wire [31:0] settle_now = 0;
`else
    wire [31:0] settle_now = dut.opu.exposer.\now.shot.settle_cycles ;
`endif

    // Light on the photodiode. Python is asked at the begin of an exposure only if it could not foresee it.
    wire [11:0] code_now = laser_enable ? dac_code : 12'd0;
    wire        begins = cam_trigger && !trigger_before;
    wire        foreseen = exposure_id == exposed_id + 1 && {1'b0, code_now} == ahead_code_now;
    wire        asks = begins && !foreseen;
    always @(posedge clk) begin
        light_set_before <= light_set_now;
        if (begins && foreseen) begin
            adc_now <= ahead_light_now;
            lit_code <= code_now;
        end else if (light_set_now != light_set_before && (light_exposure_now || !cam_trigger)) begin
            adc_now <= light_now;
            lit_code <= light_code_now;
        end
    end

    // Attention.
    reg        empty_before, id_broken, trigger_before;
    reg  [6:0] rest;
    reg [31:0] ticks;
    wire       at_rest = idle && link_quiet && camera_quiet && !rst;
    wire       rest_begins = at_rest && rest == REST - 1;
    wire [31:0] broken_now = {18'b0, bias_broken, id_broken, camera_overrun, photodiode_broken | thermometer_broken, dac_broken, link_broken, panel_broken};
    wire       wake = exposure_ended || asks || output_written || (input_empty && !empty_before) || rest_begins
                      || broken != broken_now || ticks == tick_now;

    initial begin
        attention = 0;
        link_kind = 0; interlock_closed = 1; line_break = 0; host_divisor = 4; input_load = 0; input_count = 0; frame_load = 0;
        light = 0; light_set = 0; light_exposure = 0; light_code = 0; ahead_light = 0; ahead_code = 13'h1fff; temperature = 0;
        play_times = 1; play_delay = 1; play_lines = CAMERA_HEIGHT; odd_line = 16'hffff;
        odd_line_pixels = 0; play_gap = 0; cut_line = 16'hffff; cut_pixels = 0; glitch_line = 16'hffff;
        noise_clocks = 0; dval_pauses = 0; gap_jitter = 0; stop_after = 0; stop_cycles = 0; fval_lead = 4; line_gap = 4;
        sensor_present = 0; sensor_stuck = 0; sensor_wide_register = 0; sensor_wide_value = 0; sensor_address = 0;
        sensor_id_register = 0; sensor_id_value = 0;
        tick_cycles = 16;              // Python sets up the models at the first tick, within the reset
        link_now = 0; interlock_now = 0; break_now = 0; input_load_now = 0; input_count_now = 0; frame_load_now = 0;
        divisor_now = 4; adc_now = 0; tick_now = 16;
        light_now = 0; light_set_now = 0; light_set_before = 0; light_exposure_now = 0; light_code_now = 0; lit_code = 0; ahead_light_now = 0;
        ahead_code_now = 13'h1fff; temperature_now = 0;
        status = 0; exposed_id = 0; exposed_settle = 0; broken = 0; cycles = 0; rst = 1; reset_left = 31;
        empty_before = 1; id_broken = 0; trigger_before = 0; rest = 0; ticks = 0;
    end

    always @(posedge clk) begin
        cycles <= cycles + 1;
        if (reset_left != 0) reset_left <= reset_left - 1;
        rst <= reset_left != 0;
        empty_before <= input_empty;
        trigger_before <= cam_trigger;
        if (cam_trigger) begin
            exposed_id <= exposure_id;
            exposed_settle <= settle_now;
            if (!exposure_active || (trigger_before && exposed_id != exposure_id)) id_broken <= 1;
        end
        rest <= !at_rest ? 0 : rest == REST ? REST : rest + 1;
        ticks <= !wake ? ticks + 1 : output_written && tick_now > SOON ? tick_now - SOON : 0;
        broken <= broken_now;
        if (exposure_ended) status[7:0] <= status[7:0] + 1;      // exposures ended, modulo 256
        if (output_written) status[15:8] <= status[15:8] + 1;    // times that output.bin was written, modulo 256
        status[16] <= input_empty;
        status[17] <= at_rest && (rest == REST || rest_begins);
        status[18] <= laser_enable;
        status[19] <= code_now != lit_code;                       // the light between exposures has changed
        if (asks) status[27:20] <= status[27:20] + 1;            // exposures begun that were not foreseen, modulo 256
        if (wake) attention <= !attention;
        // Stored last: the file lies ready when Python wakes.
        if (exposure_ended) modulator.kind.panel.write;
    end
endmodule
