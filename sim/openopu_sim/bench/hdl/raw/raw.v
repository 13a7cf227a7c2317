// The netlist for the bare harness: only reset and static pins are made here, so that nothing of the
// netlist depends on a top-level input without a register (Verilator would compute that at every edge of any clock).
module openopu_raw #(
    parameter PIXEL_BITS = 8
) (
    input             clk,
    input             slm_clk,
    input             cam_clk,
    input             ft_clk,          // stands still
    input       [7:0] bypass_rx_payload,
    input             bypass_rx_valid,
    output            bypass_rx_ready,
    output      [7:0] bypass_tx_payload,
    output            bypass_tx_valid,
    output            slm_de,
    output            slm_hsync,
    output            slm_vsync,
    output      [7:0] slm_level,
    output            cam_trigger,
    input             cam_fval,
    input             cam_lval,
    input [PIXEL_BITS-1:0] cam_pixel,
    output            laser_enable
);
    reg       rst, bypass;
    reg [4:0] reset_left;
    wire      ft_rd_n, ft_wr_n, ft_oe_n, ft_oe;
    wire [7:0] ft_data;
    wire      slm_bus, uart_tx, i2c_scl_oe, i2c_sda_oe, dac_cs_n, dac_sck, dac_sdi, bias_cs_n, bias_sck, bias_sdi, adc_sck, adc_sdi, exposure_active, idle;
    wire [1:0] adc_cs_n;
    wire [31:0] exposure_id;
    initial begin
        rst = 1; bypass = 0; reset_left = 31;
    end
    always @(posedge clk) begin
        if (reset_left != 0) reset_left <= reset_left - 1;
        rst <= reset_left != 0;
        bypass <= 1;
    end

    openopu_sim_top dut (
        .clk(clk), .rst(rst), .slm_clk(slm_clk), .cam_clk(cam_clk), .ft_clk(ft_clk), .link({2'b0, bypass}),
        .uart_rx(bypass), .uart_tx(uart_tx),
        .ft_rxf_n(bypass), .ft_txe_n(bypass), .ft_data_i(bypass_rx_payload), .ft_pwren_n(1'b0),
        .ft_rd_n(ft_rd_n), .ft_wr_n(ft_wr_n), .ft_oe_n(ft_oe_n), .ft_data_o(ft_data), .ft_data_oe(ft_oe),
        .bypass_rx_payload(bypass_rx_payload), .bypass_rx_valid(bypass_rx_valid), .bypass_rx_ready(bypass_rx_ready),
        .bypass_tx_payload(bypass_tx_payload), .bypass_tx_valid(bypass_tx_valid), .bypass_tx_ready(bypass),
        .slm_de(slm_de), .slm_hsync(slm_hsync), .slm_vsync(slm_vsync), .slm_level(slm_level),
        .slm_bus(slm_bus), .slm_return(bypass),
        .cam_trigger(cam_trigger), .cam_fval(cam_fval), .cam_lval(cam_lval), .cam_dval(bypass), .cam_pixel(cam_pixel),
        .i2c_scl_i(bypass), .i2c_sda_i(bypass), .i2c_scl_oe(i2c_scl_oe), .i2c_sda_oe(i2c_sda_oe),
        .interlock_closed(bypass), .laser_enable(laser_enable),
        .dac_cs_n(dac_cs_n), .dac_sck(dac_sck), .dac_sdi(dac_sdi),
        .bias_cs_n(bias_cs_n), .bias_sck(bias_sck), .bias_sdi(bias_sdi),
        .adc_cs_n(adc_cs_n), .adc_sck(adc_sck), .adc_sdi(adc_sdi), .adc_dout(bypass),
        .exposure_id(exposure_id), .exposure_active(exposure_active), .idle(idle)
    );
endmodule
