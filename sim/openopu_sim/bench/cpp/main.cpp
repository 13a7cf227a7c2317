// Main program of the Verilated bench.
//
// It drives the clocks itself and enters VPI, and so Python, only when `attention` changes or a timer
// of cocotb is due; cocotb's own main program would do so at every clock edge.
#include <cstdio>
#include <string>

#include "Vopenopu_bench.h"
#include "clocks.h"
#include "verilated.h"
#include "verilated_vpi.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
using Trace = VerilatedFstC;
#elif VM_TRACE
#include "verilated_vcd_c.h"
using Trace = VerilatedVcdC;
#endif

static uint64_t now = 0;
double sc_time_stamp() { return static_cast<double>(now); }

extern "C" void vlog_startup_routines_bootstrap(void);

// Calls value change callbacks until nothing changes any more.
static void settle() {
    while (VerilatedVpi::callValueCbs()) {}
}

// One time step as cocotb expects it; the model has just been evaluated.
static void enter_vpi(Vopenopu_bench* top) {
    settle();
    do {
        while (VerilatedVpi::evalNeeded()) {
            VerilatedVpi::clearEvalNeeded();
            top->eval();
            settle();
        }
        VerilatedVpi::callCbs(cbReadWriteSynch);
        VerilatedVpi::doInertialPuts();
        settle();
    } while (VerilatedVpi::evalNeeded());
    VerilatedVpi::callCbs(cbReadOnlySynch);
}

int main(int argc, char** argv) {
    Verilated::commandArgs(argc, argv);
    Verilated::fatalOnVpiError(false);
    auto* top = new Vopenopu_bench{""};
#if VM_TRACE
    Trace* trace = nullptr;
    Verilated::traceEverOn(true);
    for (int i = 1; i < argc; ++i) {
        const std::string argument{argv[i]};
        if (argument.rfind("+waves=", 0) == 0) {
            trace = new Trace;
            top->trace(trace, 99);
            trace->open(argument.c_str() + 7);
        }
    }
    const bool exact = true;
#else
    const bool exact = false;
#endif
    Clocks<Vopenopu_bench> clocks(top, plusarg(argc, argv, "clk_half"), plusarg(argc, argv, "slm_half"),
                                  plusarg(argc, argv, "cam_half"), plusarg(argc, argv, "ft_half"), exact);

    vlog_startup_routines_bootstrap();
    top->eval();
    VerilatedVpi::callCbs(cbStartOfSimulation);
    enter_vpi(top);

    uint8_t attention = top->attention;
    uint64_t deadline = VerilatedVpi::cbNextDeadline();
    while (!Verilated::gotFinish()) {
        clocks.step();
        now = clocks.time;
        top->eval();
        clocks.cam_stopped = top->cam_stopped;
        if (top->attention != attention || now >= deadline) {
            attention = top->attention;
            VerilatedVpi::callCbs(cbNextSimTime);
            VerilatedVpi::callTimedCbs();
            enter_vpi(top);
            deadline = VerilatedVpi::cbNextDeadline();
        }
#if VM_TRACE
        if (trace) trace->dump(now);
#endif
    }
    top->final();
    VerilatedVpi::callCbs(cbEndOfSimulation);
#if VM_TRACE
    if (trace) trace->close();
#endif
    delete top;
    return 0;
}
