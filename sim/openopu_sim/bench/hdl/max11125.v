// Model of the MAX11125, a 12-bit SPI ADC of eight inputs (Maxim data sheet MAX11120-MAX11128), external clock mode.
//
// Words of 16 bits in SPI mode 3: SCLK idles high, DIN is taken at its rising edge, DOUT changes after its falling
// edge, most significant bit first. A word takes effect at the rising edge of CS; one cut short is dropped. Bit 15
// low: ADC mode control: SCAN 14:11 (1: manual: convert CHSEL 10:7; 0: as before), RESET 6:5 (2: registers), CHAN_ID 2
// (the answer begins with the channel, else with a zero). The input is sampled at the falling edge of CS that follows
// the word, and sent with the word of that edge or, with LATE, with the next one: public drivers differ, and ours must
// be right with both.
module openopu_max11125 #(
    parameter CLOCK_HZ = 48000000,
    parameter LATE = 0
) (
    input             clk,
    input      [95:0] values,          // what the inputs are worth, 12 bits each, AIN0 lowest
    input             cs_n,
    input             sck,
    input             din,
    output reg        dout,
    output reg [15:0] config_word,     // the ADC configuration register
    output reg        broken           // SCLK faster than 16 MHz, not high when CS falls, or a word of other than 16 bits
);
    // Clocks that half a period of 16 MHz lasts, rounded up.
    localparam HALF = (CLOCK_HZ / 1000 * 31 + 999999) / 1000000;
    reg [15:0] word, answer, later;
    reg  [4:0] falls;
    reg  [3:0] channel;
    reg        identify, sck_before, cs_before;
    reg [31:0] since_edge;
    wire [11:0] input_now = values[12*channel[2:0] +: 12];
    wire [15:0] result = identify ? {channel, input_now} : {1'b0, input_now, 3'b0};

    // 1 stands for high impedance with a pull-up.
    initial begin
        word = 0; answer = 0; later = 0; falls = 0; channel = 0; identify = 0; sck_before = 1; cs_before = 1;
        since_edge = 32'h7fffffff; dout = 1; config_word = 16'h8000; broken = 0;
    end

    always @(posedge clk) begin
        sck_before <= sck;
        cs_before <= cs_n;
        since_edge <= sck != sck_before ? 1 : since_edge + (since_edge != 32'h7fffffff);
        if (cs_n) begin
            dout <= 1;
            if (!cs_before) begin
                if (falls != 16) broken <= 1;
                else if (word[15:11] == 5'b10000) config_word <= word;
                else if (!word[15]) begin
                    if (word[6:5] == 2) begin
                        config_word <= 16'h8000;
                        channel <= 0;
                        identify <= 0;
                    end
                    if (word[14:11] == 1) begin
                        channel <= word[10:7];
                        identify <= word[2];
                    end
                end
            end
        end else begin
            if (cs_before) begin
                falls <= 0;
                later <= result;
                answer <= LATE ? later : result;
                if (!sck) broken <= 1;
            end
            if (sck != sck_before && !cs_before && falls != 0 && since_edge < HALF) broken <= 1;
            if (sck && !sck_before) word <= {word[14:0], din};
            if (!sck && sck_before && falls != 31) begin
                dout <= answer[15];
                answer <= answer << 1;
                falls <= falls + 1;
            end
        end
    end
endmodule
