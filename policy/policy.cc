#include "policy/policy.h"

namespace omx {

std::string_view name(Verdict v) {
    switch (v) {
    case Verdict::allow: return "allow";
    case Verdict::deny: return "deny";
    case Verdict::home: return "home";
    }
    return "?";
}

Verdict decide(const PolicyQuestion&) {
    return Verdict::allow;
}

}  // namespace omx
