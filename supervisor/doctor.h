// `omxsup doctor`: what this kernel (and a node) offers, found out by doing it, not by reading version numbers.
#pragma once
#include <string>

namespace omx {

struct DoctorOptions {
    std::string node;          // HOST:PORT or unix:PATH; empty: this machine only
    bool json = false;
};

// 0: everything needed is there (perhaps degraded); 1: something needed is missing.
int doctor_main(const DoctorOptions&);

}  // namespace omx
