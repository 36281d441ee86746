// Of a build without npm: there is no page.
#include "output/html.h"

namespace leakshim {

absl::string_view HtmlPage() {
  return "";
}

}  // namespace leakshim
