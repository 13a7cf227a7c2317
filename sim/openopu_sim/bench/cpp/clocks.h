// Four free clocks for a Verilated model, shared by the bench and by the bare harness it is compared with.
//
// Nothing in the models is clocked by a falling edge, so a falling edge needs no evaluation of its own:
// it is shown to the model together with the next rising edge of another clock (the exact mode shows
// every edge at its time, for waveforms).
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

template <class Model>
class Clocks {
public:
    // Half periods in ps; a clock of 0 stands still.
    Clocks(Model* model, uint64_t clk_half, uint64_t slm_half, uint64_t cam_half, uint64_t ft_half, bool exact)
        : model(model), half{clk_half, slm_half, cam_half, ft_half}, exact(exact) {
        for (int i = 0; i < 4; ++i) next[i] = half[i] ? half[i] : UINT64_MAX;
    }

    uint64_t time = 0;     // ps
    bool cam_stopped = false;

    // Advance to the next edge that must be evaluated; returns the clock that has risen, 0 to 3, or -1.
    int step() {
        for (;;) {
            int i = next[1] < next[0] ? 1 : 0;
            if (next[2] < next[i]) i = 2;
            if (next[3] < next[i]) i = 3;
            uint8_t& pin = i == 0 ? model->clk : i == 1 ? model->slm_clk : i == 2 ? model->cam_clk : model->ft_clk;
            if (i == 2 && cam_stopped) {
                next[2] += half[2];
                continue;
            }
            if (!pin && unseen[i]) {               // its falling edge has not been shown yet
                unseen[i] = false;
                time = next[i] - 1;
                return -1;
            }
            time = next[i];
            next[i] += half[i];
            pin = !pin;
            if (pin || exact) {
                unseen[0] = unseen[1] = unseen[2] = unseen[3] = false;
                return pin ? i : -1;
            }
            unseen[i] = true;
        }
    }

private:
    Model* model;
    uint64_t half[4], next[4];
    bool unseen[4] = {false, false, false, false};
    bool exact;
};

// Value of +name=NUMBER among the arguments.
inline uint64_t plusarg(int argc, char** argv, const char* name) {
    const size_t length = strlen(name);
    for (int i = 1; i < argc; ++i)
        if (argv[i][0] == '+' && !strncmp(argv[i] + 1, name, length) && argv[i][1 + length] == '=')
            return strtoull(argv[i] + 2 + length, nullptr, 10);
    fprintf(stderr, "+%s=NUMBER is missing\n", name);
    exit(2);
}
