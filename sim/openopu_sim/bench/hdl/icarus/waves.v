// Second top module of an Icarus run that writes waves: +waves=FILE.
`timescale 1ps / 1ps
module openopu_waves;
    reg [8*1024-1:0] path;
    initial if ($value$plusargs("waves=%s", path)) begin
        $dumpfile(path);
        $dumpvars(0, openopu_bench);
    end
endmodule
