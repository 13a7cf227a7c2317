// Bare harness around the gateware's netlist: the yardstick for the speed of the bench.
//
// No VPI, no Python, no bus models in Verilog: the same clocks, packets from a file over the byte link,
// WINDOW of them unanswered at a time, one canned frame for every exposure, panel levels stored.
// Prints cycles, seconds, and the bytes of the answers.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "Vopenopu_raw.h"
#include "clocks.h"
#include "verilated.h"

static uint64_t now = 0;
double sc_time_stamp() { return static_cast<double>(now); }

// Plays frames like `camera.v`.
struct Camera {
    const int width, height, bits, delay, lead, gap;
    int pending = 0, state = 0, wait = 0, row = 0, column = 0;

    void rise(Vopenopu_raw* top) {
        top->cam_lval = 0;
        if (wait) { --wait; return; }
        switch (state) {
            case 0: if (pending) { wait = delay; state = 1; } break;
            case 1: top->cam_fval = 1; wait = lead; row = 0; column = 0; state = 2; break;
            case 2:
                top->cam_lval = 1;
                top->cam_pixel = (row * width + column) * 7 % (1 << bits);
                if (++column == width) {
                    column = 0;
                    if (++row == height) { wait = lead; state = 3; } else wait = gap;
                }
                break;
            case 3: top->cam_fval = 0; --pending; state = 0; break;
        }
    }
};

int main(int argc, char** argv) {
    Verilated::commandArgs(argc, argv);
    if (argc < 2) { fprintf(stderr, "usage: %s PACKETS +clk_half=... (see speed.py)\n", argv[0]); return 2; }
    std::ifstream file(argv[1], std::ios::binary);
    const std::vector<uint8_t> packets((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const uint64_t window = plusarg(argc, argv, "window");
    uint64_t total = 0;
    for (uint8_t byte : packets) total += byte == 0;
    Camera camera{int(plusarg(argc, argv, "width")), int(plusarg(argc, argv, "height")), int(plusarg(argc, argv, "bits")),
                  int(plusarg(argc, argv, "delay")), int(plusarg(argc, argv, "lead")), int(plusarg(argc, argv, "gap"))};
    std::vector<uint8_t> levels, answers;
    levels.reserve(1 << 20);

    auto* top = new Vopenopu_raw{""};
    Clocks<Vopenopu_raw> clocks(top, plusarg(argc, argv, "clk_half"), plusarg(argc, argv, "slm_half"),
                                    plusarg(argc, argv, "cam_half"), 0, false);

    uint64_t cycles = 0, sent = 0, answered = 0;
    size_t next = 0;
    bool trigger = false, vsync = false;
    const auto begin = std::chrono::steady_clock::now();
    while (answered < total) {
        // Transfers happen at the coming rising edge with the values of before.
        const bool taken = top->bypass_rx_valid && top->bypass_rx_ready, got = top->bypass_tx_valid;
        const uint8_t byte = top->bypass_tx_payload;
        const int risen = clocks.step();
        now = clocks.time;
        top->eval();
        if (risen == 0) {
            ++cycles;
            if (got) {
                answers.push_back(byte);
                answered += byte == 0;
            }
            if (taken) sent += packets[next++] == 0;
            top->bypass_rx_valid = cycles > 40 && next < packets.size() && sent < answered + window;
            if (top->bypass_rx_valid) top->bypass_rx_payload = packets[next];
            if (trigger && !top->cam_trigger) ++camera.pending;
            trigger = top->cam_trigger;
        } else if (risen == 1) {
            if (top->slm_de) levels.push_back(top->slm_level);
            if (top->slm_vsync && !vsync) levels.clear();
            vsync = top->slm_vsync;
        } else if (risen == 2) {
            camera.rise(top);
        }
    }
    const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    printf("{\"event\": \"replayed\", \"cycles\": %llu, \"wall_s\": %.6f, \"answers\": \"",
           static_cast<unsigned long long>(cycles), wall);
    for (uint8_t byte : answers) printf("%02x", byte);
    printf("\"}\n");
    top->final();
    delete top;
    return 0;
}
