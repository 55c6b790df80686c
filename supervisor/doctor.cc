#include "supervisor/doctor.h"
#include <fmt/format.h>

namespace omx {

int doctor_main(const DoctorOptions&) {
    fmt::print(stderr, "omxsup: doctor: not written yet\n");
    return 1;
}

}  // namespace omx
