#include <string>

#include "absl/strings/str_cat.h"
#include "output/output.h"

namespace leakshim {
namespace {

// The view box is what is seen of the graph: the wheel scales it about the pointer, dragging moves it.
constexpr const char* kScript = R"(<script type="text/ecmascript"><![CDATA[
(function() {
  var svg = document.documentElement, box = svg.viewBox.baseVal, last = null;
  function at(event) {
    var point = svg.createSVGPoint();
    point.x = event.clientX;
    point.y = event.clientY;
    return point.matrixTransform(svg.getScreenCTM().inverse());
  }
  svg.addEventListener('wheel', function(event) {
    var p = at(event), scale = Math.pow(1.2, event.deltaY > 0 ? 1 : -1);
    box.x = p.x - (p.x - box.x) * scale;
    box.y = p.y - (p.y - box.y) * scale;
    box.width *= scale;
    box.height *= scale;
    event.preventDefault();
  }, {passive: false});
  svg.addEventListener('mousedown', function(event) { last = at(event); event.preventDefault(); });
  svg.addEventListener('mousemove', function(event) {
    if (!last) return;
    var p = at(event);
    box.x += last.x - p.x;
    box.y += last.y - p.y;
  });
  window.addEventListener('mouseup', function() { last = null; });
})();
]]></script>
)";

// Replaces the value of `name` in the tag that ends at `tag_end`.
void SetAttribute(std::string* text, size_t tag, absl::string_view name, const char* value) {
  const std::string opening = absl::StrCat(" ", name, "=\"");
  const size_t begin = text->find(opening, tag), tag_end = text->find('>', tag);
  if (begin == std::string::npos || begin > tag_end) return;
  const size_t first = begin + opening.size(), end = text->find('"', first);
  if (end != std::string::npos) text->replace(first, end - first, value);
}

}  // namespace

std::string BrowserSvg(absl::string_view svg) {
  std::string text(svg);
  const size_t tag = text.find("<svg ");
  if (tag == std::string::npos) return text;
  SetAttribute(&text, tag, "width", "100%");
  SetAttribute(&text, tag, "height", "100%");
  const size_t end = text.find('>', tag);
  if (end != std::string::npos) text.insert(text[end + 1] == '\n' ? end + 2 : end + 1, kScript);
  return text;
}

}  // namespace leakshim
