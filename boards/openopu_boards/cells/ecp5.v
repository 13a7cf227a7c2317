// Cells of the ECP5 for which yosys ships no simulation model, as far as its mapping uses them.
//
// DP16KD after Lattice FPGA-TN-02204 (formerly TN1264), "ECP5 and ECP5-5G Memory Usage Guide": 18 Kbit in 1,024 words of
// 18, of which ports of 1, 2 and 4 bits reach 16 of 18; an address counts bits; ports of 18 and 36 bits have byte
// enables in the low bits of the address; a read takes a clock; with NOREG there is no second register. Where one port
// reads bits that the other writes in the same clock the guide promises nothing, so this gives the inverse of what
// stood there: whoever relies on it is found. Order of bits in INITVAL and of narrow data: as yosys' mapping has them.
//
// MULT18X18D without its registers, as yosys maps a product: FPGA-TN-02205, "sysDSP Usage Guide".

module DP16KD (
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3,
    DIA2, DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3,
    DOA2, DOA1, DOA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3,
    DIB2, DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3,
    DOB2, DOB1, DOB0
);
    parameter DATA_WIDTH_A = 18;
    parameter DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG";
    parameter REGMODE_B = "NOREG";
    parameter RESETMODE = "SYNC";
    parameter ASYNC_RESET_RELEASE = "SYNC";
    parameter CSDECODE_A = "0b000";
    parameter CSDECODE_B = "0b000";
    parameter WRITEMODE_A = "NORMAL";
    parameter WRITEMODE_B = "NORMAL";
    parameter CLKAMUX = "CLKA";
    parameter CLKBMUX = "CLKB";
    parameter GSR = "AUTO";
    parameter [319:0] INITVAL_00 = 320'h0;
    parameter [319:0] INITVAL_01 = 320'h0;
    parameter [319:0] INITVAL_02 = 320'h0;
    parameter [319:0] INITVAL_03 = 320'h0;
    parameter [319:0] INITVAL_04 = 320'h0;
    parameter [319:0] INITVAL_05 = 320'h0;
    parameter [319:0] INITVAL_06 = 320'h0;
    parameter [319:0] INITVAL_07 = 320'h0;
    parameter [319:0] INITVAL_08 = 320'h0;
    parameter [319:0] INITVAL_09 = 320'h0;
    parameter [319:0] INITVAL_0A = 320'h0;
    parameter [319:0] INITVAL_0B = 320'h0;
    parameter [319:0] INITVAL_0C = 320'h0;
    parameter [319:0] INITVAL_0D = 320'h0;
    parameter [319:0] INITVAL_0E = 320'h0;
    parameter [319:0] INITVAL_0F = 320'h0;
    parameter [319:0] INITVAL_10 = 320'h0;
    parameter [319:0] INITVAL_11 = 320'h0;
    parameter [319:0] INITVAL_12 = 320'h0;
    parameter [319:0] INITVAL_13 = 320'h0;
    parameter [319:0] INITVAL_14 = 320'h0;
    parameter [319:0] INITVAL_15 = 320'h0;
    parameter [319:0] INITVAL_16 = 320'h0;
    parameter [319:0] INITVAL_17 = 320'h0;
    parameter [319:0] INITVAL_18 = 320'h0;
    parameter [319:0] INITVAL_19 = 320'h0;
    parameter [319:0] INITVAL_1A = 320'h0;
    parameter [319:0] INITVAL_1B = 320'h0;
    parameter [319:0] INITVAL_1C = 320'h0;
    parameter [319:0] INITVAL_1D = 320'h0;
    parameter [319:0] INITVAL_1E = 320'h0;
    parameter [319:0] INITVAL_1F = 320'h0;
    parameter [319:0] INITVAL_20 = 320'h0;
    parameter [319:0] INITVAL_21 = 320'h0;
    parameter [319:0] INITVAL_22 = 320'h0;
    parameter [319:0] INITVAL_23 = 320'h0;
    parameter [319:0] INITVAL_24 = 320'h0;
    parameter [319:0] INITVAL_25 = 320'h0;
    parameter [319:0] INITVAL_26 = 320'h0;
    parameter [319:0] INITVAL_27 = 320'h0;
    parameter [319:0] INITVAL_28 = 320'h0;
    parameter [319:0] INITVAL_29 = 320'h0;
    parameter [319:0] INITVAL_2A = 320'h0;
    parameter [319:0] INITVAL_2B = 320'h0;
    parameter [319:0] INITVAL_2C = 320'h0;
    parameter [319:0] INITVAL_2D = 320'h0;
    parameter [319:0] INITVAL_2E = 320'h0;
    parameter [319:0] INITVAL_2F = 320'h0;
    parameter [319:0] INITVAL_30 = 320'h0;
    parameter [319:0] INITVAL_31 = 320'h0;
    parameter [319:0] INITVAL_32 = 320'h0;
    parameter [319:0] INITVAL_33 = 320'h0;
    parameter [319:0] INITVAL_34 = 320'h0;
    parameter [319:0] INITVAL_35 = 320'h0;
    parameter [319:0] INITVAL_36 = 320'h0;
    parameter [319:0] INITVAL_37 = 320'h0;
    parameter [319:0] INITVAL_38 = 320'h0;
    parameter [319:0] INITVAL_39 = 320'h0;
    parameter [319:0] INITVAL_3A = 320'h0;
    parameter [319:0] INITVAL_3B = 320'h0;
    parameter [319:0] INITVAL_3C = 320'h0;
    parameter [319:0] INITVAL_3D = 320'h0;
    parameter [319:0] INITVAL_3E = 320'h0;
    parameter [319:0] INITVAL_3F = 320'h0;
    localparam WIDE = DATA_WIDTH_B == 36;

    reg [17:0] words [0:1023];
    wire [20479:0] initial_words = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
        INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
        INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
        INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
        INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
        INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
        INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00
    };
    integer k;
    initial for (k = 0; k < 1024; k = k + 1) words[k] = initial_words[20 * k +: 18];
    reg [17:0] low_B;
    initial low_B = 18'h0;

    wire [17:0] data_A = {
        DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2,
        DIA1, DIA0
    };
    wire [13:0] address_A = {
        ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0
    };
    reg [17:0] out_A;
    initial out_A = 18'h0;
    assign {
        DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2,
        DOA1, DOA0
    } = WIDE ? low_B : out_A;

    wire [17:0] data_B = {
        DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2,
        DIB1, DIB0
    };
    wire [13:0] address_B = {
        ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0
    };
    reg [17:0] out_B;
    initial out_B = 18'h0;
    assign {
        DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2,
        DOB1, DOB0
    } = out_B;

    // Bits of a word that an access touches, and where its data begins. Bits 8 and 17 are out of reach of narrow ports.
    function [17:0] mask(input integer width, input [13:0] address, input writes);
        case (width)
            1: mask = 18'h1 << place(width, address);
            2: mask = 18'h3 << place(width, address);
            4: mask = 18'hf << place(width, address);
            9: mask = 18'h1ff << place(width, address);
            default: mask = writes ? {{9{address[1]}}, {9{address[0]}}} : 18'h3ffff;
        endcase
    endfunction
    function [4:0] place(input integer width, input [13:0] address);
        case (width)
            1: place = (address[3] ? 5'd9 : 5'd0) + {2'b0, address[2:0]};
            2: place = (address[3] ? 5'd9 : 5'd0) + {2'b0, address[2:1], 1'b0};
            4: place = (address[3] ? 5'd9 : 5'd0) + {2'b0, address[2], 2'b0};
            9: place = address[3] ? 5'd9 : 5'd0;
            default: place = 5'd0;
        endcase
    endfunction
    function [17:0] lane(input integer width);
        lane = width == 1 ? 18'h1 : width == 2 ? 18'h3 : width == 4 ? 18'hf : width == 9 ? 18'h1ff : 18'h3ffff;
    endfunction

    wire write_A = CEA & WEA & ~CSA2 & ~CSA1 & ~CSA0;
    wire write_B = CEB & WEB & ~CSB2 & ~CSB1 & ~CSB0;
    wire [9:0] word_A = address_A[13:4];
    wire [9:0] word_B = address_B[13:4];
    // Bits of a word that the other port reads while this one writes them.
    function [17:0] clash_A(input [9:0] word);
        if (DATA_WIDTH_A == 36)
            clash_A = write_A & word[9:1] == word_A[9:1]
                ? (word[0] ? {{9{address_A[3]}}, {9{address_A[2]}}} : {{9{address_A[1]}}, {9{address_A[0]}}}) : 18'h0;
        else
            clash_A = write_A & word == word_A ? mask(DATA_WIDTH_A, address_A, 1'b1) : 18'h0;
    endfunction
    function [17:0] clash_B(input [9:0] word);
        clash_B = write_B & word == word_B ? mask(DATA_WIDTH_B, address_B, 1'b1) : 18'h0;
    endfunction
    wire clock_A = CLKAMUX == "INV" ? ~CLKA : CLKA;
    wire clock_B = CLKBMUX == "INV" ? ~CLKB : CLKB;

    always @(posedge clock_A) begin
        if (write_A) begin
            if (DATA_WIDTH_A == 36) begin
                words[{word_A[9:1], 1'b0}] <= merged(words[{word_A[9:1], 1'b0}], data_A,
                    {{9{address_A[1]}}, {9{address_A[0]}}});
                words[{word_A[9:1], 1'b1}] <= merged(words[{word_A[9:1], 1'b1}], data_B,
                    {{9{address_A[3]}}, {9{address_A[2]}}});
            end else
                words[word_A] <= merged(words[word_A], data_A << place(DATA_WIDTH_A, address_A),
                    mask(DATA_WIDTH_A, address_A, 1'b1));
        end
        if (RSTA) out_A <= 18'h0;
        else if (CEA & (~WEA | WRITEMODE_A != "NORMAL"))
            out_A <= WEA & WRITEMODE_A == "WRITETHROUGH" ? data_A :
                ((words[word_A] ^ clash_B(word_A)) >> place(DATA_WIDTH_A, address_A)) & lane(DATA_WIDTH_A);
    end
    always @(posedge clock_B) begin
        if (write_B)
            words[word_B] <= merged(words[word_B], data_B << place(DATA_WIDTH_B, address_B),
                mask(DATA_WIDTH_B, address_B, 1'b1));
        if (RSTB) begin
            out_B <= 18'h0;
            low_B <= 18'h0;
        end else if (CEB & (~WEB | WRITEMODE_B != "NORMAL")) begin
            if (WIDE) begin
                low_B <= words[{word_B[9:1], 1'b0}] ^ clash_A({word_B[9:1], 1'b0});
                out_B <= words[{word_B[9:1], 1'b1}] ^ clash_A({word_B[9:1], 1'b1});
            end else
                out_B <= WEB & WRITEMODE_B == "WRITETHROUGH" ? data_B :
                    ((words[word_B] ^ clash_A(word_B)) >> place(DATA_WIDTH_B, address_B)) & lane(DATA_WIDTH_B);
        end
    end
    function [17:0] merged(input [17:0] old, input [17:0] data, input [17:0] where);
        merged = (old & ~where) | (data & where);
    endfunction
endmodule

module MULT18X18D (
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16,
    P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    wire signed [18:0] a = {
        SIGNEDA & A17,
        A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0
    };
    wire signed [18:0] b = {
        SIGNEDB & B17,
        B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0
    };
    wire signed [37:0] product = a * b;
    assign {
        P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18, P17, P16, P15,
        P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
    } = product[35:0];
endmodule
