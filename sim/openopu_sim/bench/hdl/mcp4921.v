// Model of the MCP4921, a 12-bit SPI DAC (Microchip DS21897), LDAC tied low.
//
// A word of 16 bits, {/A, BUF, /GA, /SHDN, D11..D0}, is shifted in on rising edges of SCK while CS is
// low and takes effect at the rising edge of CS. Clocks past the sixteenth are ignored; a word cut
// short is dropped. Sampled by the system clock, which must be faster than 2 x SCK.
module openopu_mcp4921 #(
    parameter CLOCK_HZ = 48000000
) (
    input             clk,
    input             cs_n,
    input             sck,
    input             sdi,
    output     [11:0] code,            // 0 while shut down
    output reg        broken           // SCK faster than 20 MHz: high or low for less than 15 ns
);
    localparam SHORTEST = (CLOCK_HZ / 1000 * 15 + 999999) / 1000000;   // clocks that last 15 ns
    reg [15:0] word;
    reg [4:0]  bits;
    reg [11:0] held;
    reg        active, sck_before, cs_before;
    reg [31:0] since_edge;
    assign code = active ? held : 12'd0;

    // After power-on reset the output is high impedance until the first write.
    initial begin
        word = 0; bits = 0; held = 0; active = 0; sck_before = 0; cs_before = 1; broken = 0; since_edge = 0;
    end

    // Nothing moves while CS rests high.
    always @(posedge clk) if (!cs_n || !cs_before) begin
        sck_before <= sck;
        cs_before <= cs_n;
        since_edge <= sck != sck_before ? 1 : since_edge + 1;
        if (!cs_n && sck != sck_before && bits != 0 && since_edge < SHORTEST) broken <= 1;
        if (cs_n) begin
            bits <= 0;
            // Bit 15 selects the second channel, which this part does not have.
            if (!cs_before && bits == 16 && !word[15]) begin
                active <= word[12];
                held <= word[11:0];
            end
        end else if (sck && !sck_before && bits != 16) begin
            word <= {word[14:0], sdi};
            bits <= bits + 1;
        end
    end
endmodule
