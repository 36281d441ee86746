#include "capture/thread_state.h"

namespace leakshim {

constinit thread_local ThreadState thread_state{};

}  // namespace leakshim
