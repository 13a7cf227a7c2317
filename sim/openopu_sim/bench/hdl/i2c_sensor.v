// Model of a sensor behind I2C: its identity and a memory of registers; openopu_sim.sensor is the same in Python.
//
// After its address, the first bytes set the pointer, the next ones are values; the pointer goes on after each.
// Registers and values have one or two bytes, high byte first. The identity cannot be written.
module openopu_i2c_sensor (
    input             clk,
    input             scl,
    input             sda,
    output            sda_low,         // pull SDA low
    input             present,
    input             stuck,           // hold SDA low for ever
    input       [6:0] address,
    input             wide_register,
    input             wide_value,
    input      [15:0] id_register,
    input      [15:0] id_value
);
    localparam IDLE = 0, ADDRESS = 1, TAKE = 2, GIVE = 3;
    reg [15:0] memory [0:65535];
    reg  [1:0] state;
    reg        scl_before, sda_before, low, refused;
    reg  [3:0] bits;                   // of the byte, the acknowledge included
    reg  [7:0] shift;
    reg  [1:0] head;                   // bytes of the pointer that are still to come
    reg        second;                 // the next byte is a value's low one
    reg  [7:0] high;
    reg [15:0] pointer;
    integer    i;
    wire [15:0] word = pointer == id_register ? id_value : memory[pointer];
    wire [15:0] following = pointer + 1;
    wire [15:0] pointer_next = wide_register ? following : {8'b0, following[7:0]};

    assign sda_low = low || stuck;

    initial begin
        for (i = 0; i < 65536; i = i + 1) memory[i] = 0;
        state = IDLE; scl_before = 1; sda_before = 1; low = 0; refused = 0; bits = 0; shift = 0; head = 0; second = 0;
        high = 0; pointer = 0;
    end

    always @(posedge clk) begin
        scl_before <= scl;
        sda_before <= sda;
        if (scl && scl_before && sda_before && !sda) begin                  // START
            state <= ADDRESS;
            bits <= 0;
        end else if (scl && scl_before && !sda_before && sda) begin         // STOP
            state <= IDLE;
            low <= 0;
        end else if (scl && !scl_before) begin
            if (bits < 8) shift <= {shift[6:0], sda};
            else refused <= sda;
            bits <= bits + 1;
        end else if (!scl && scl_before && state != IDLE) begin
            if (bits == 8) case (state)                                     // acknowledge
                ADDRESS: begin
                    low <= present && shift[7:1] == address;
                    head <= wide_register ? 2 : 1;
                    second <= 0;
                end
                TAKE: begin
                    low <= 1;
                    if (head != 0) begin
                        head <= head - 1;
                        pointer <= !wide_register ? {8'b0, shift} : head == 2 ? {shift, pointer[7:0]}
                                                                              : {pointer[15:8], shift};
                    end else if (wide_value && !second) begin
                        high <= shift;
                        second <= 1;
                    end else begin
                        memory[pointer] <= wide_value ? {high, shift} : {8'b0, shift};
                        pointer <= pointer_next;
                        second <= 0;
                    end
                end
                default: begin
                    low <= 0;
                    if (wide_value && !second) second <= 1;
                    else begin
                        second <= 0;
                        pointer <= pointer_next;
                    end
                end
            endcase
            else if (bits == 9) begin                                       // the next byte begins
                bits <= 0;
                low <= 0;
                case (state)
                    ADDRESS: begin
                        state <= !low ? IDLE : shift[0] ? GIVE : TAKE;
                        if (low && shift[0]) low <= wide_value ? !word[15] : !word[7];
                    end
                    GIVE: begin
                        if (refused) state <= IDLE;
                        else low <= wide_value && !second ? !word[15] : !word[7];
                    end
                    default: ;
                endcase
            end else if (state == GIVE) low <= wide_value && !second ? !word[15 - bits] : !word[7 - bits];
        end
    end
endmodule
