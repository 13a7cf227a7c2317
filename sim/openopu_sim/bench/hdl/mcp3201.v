// Model of the MCP3201, a 12-bit SPI ADC (Microchip DS21290).
//
// The falling edge of CS starts a conversion; the input is sampled from the first rising to the second
// falling edge of CLK; that falling edge puts out a null bit, the next ones B11 to B0, then B1 to B11.
module openopu_mcp3201 #(
    parameter CLOCK_HZ = 48000000
) (
    input             clk,
    input      [11:0] value,           // what the input is worth
    input             cs_n,
    input             sck,
    output reg        dout,
    output reg        broken           // CLK faster than 1.6 MHz (high or low below 312 ns), or CS high below 625 ns
);
    // Clocks that last so long, rounded up; one clock of grace, as edges are seen through the system clock.
    localparam HALF = (CLOCK_HZ / 1000 * 312 + 999999) / 1000000 - 1;
    localparam DISABLE = (CLOCK_HZ / 1000 * 625 + 999999) / 1000000 - 1;
    reg [11:0] held;
    reg [4:0]  falls;
    reg        sck_before, cs_before, clocked;
    reg [31:0] since_edge, high;

    // 1 stands for high impedance with a pull-up.
    initial begin
        held = 0; falls = 0; dout = 1; broken = 0; sck_before = 0; cs_before = 1; since_edge = 0;
        clocked = 0; high = DISABLE;
    end

    // Nothing moves while CS rests high.
    always @(posedge clk) if (!cs_n || !cs_before || high != DISABLE) begin
        sck_before <= sck;
        cs_before <= cs_n;
        since_edge <= sck != sck_before ? 1 : since_edge + 1;
        high <= cs_n ? high + (high != DISABLE) : 0;
        if (cs_n) begin
            falls <= 0;
            clocked <= 0;
            dout <= 1;
        end else begin
            if (cs_before && high < DISABLE) broken <= 1;
            if (sck != sck_before && clocked && since_edge < HALF) broken <= 1;
            if (sck && !sck_before) clocked <= 1;
            if (!sck && sck_before) begin
                if (falls == 1) begin
                    held <= value;
                    dout <= 0;
                end else if (falls >= 2 && falls <= 13) dout <= held[13 - falls];
                else if (falls >= 14 && falls <= 24) dout <= held[falls - 13];
                else if (falls == 25) dout <= 0;
                if (falls != 31) falls <= falls + 1;
            end
        end
    end
endmodule
