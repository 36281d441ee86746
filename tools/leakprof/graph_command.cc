#include "leakprof/graph_command.h"

#include <unistd.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "report/dot_graph.h"
#include "symbolize/run_tool.h"

namespace leakshim {
namespace {

// What each mode asks of graphviz, and of whom it asks to show it.
struct Form {
  const char* graphviz;  // nullptr: nothing, the text is what is wanted
  const char* suffix;    // of a file to be shown; nullptr: standard output
};

Form FormOf(Mode mode) {
  switch (mode) {
    case Mode::kSvg:
      return {"svg", nullptr};
    case Mode::kGif:
      return {"gif", nullptr};
    case Mode::kPdf:
      return {"pdf", nullptr};
    case Mode::kPs:
      return {"ps2", nullptr};
    case Mode::kGv:
      return {"ps2", ".ps"};
    case Mode::kEvince:
      return {"pdf", ".pdf"};
    case Mode::kWeb:
      return {"svg", ".svg"};
    default:
      return {nullptr, nullptr};
  }
}

// The program that jeprof runs, then what a desktop has for such files.
std::vector<std::vector<std::string>> Viewers(const Flags& flags, const std::string& file) {
  switch (flags.mode) {
    case Mode::kGv:
      return {{"gv", absl::StrCat("--scale=", flags.scale), "--noantialias", file}, {"xdg-open", file}};
    case Mode::kEvince:
      return {{"evince", file}, {"xdg-open", file}};
    default:
      return {{"xdg-open", file},
              {"/etc/alternatives/gnome-www-browser", file},
              {"/etc/alternatives/x-www-browser", file},
              {"google-chrome", file},
              {"firefox", file}};
  }
}

}  // namespace

ExitStatus RunGraph(const Flags& flags, const CallGraph& call_graph, Unit unit, const std::string& program,
                    std::string* text) {
  const Form form = FormOf(flags.mode);
  const DotGraph graph = MakeDotGraph(call_graph, {.nodes = static_cast<size_t>(flags.node_count),
                                                   .node_fraction = flags.node_fraction,
                                                   .edge_fraction = flags.edge_fraction,
                                                   .degree = static_cast<size_t>(flags.max_degree)});
  if (graph.nodes.empty()) {
    Say("no nodes to print");
    return kBadUsage;
  }
  if (graph.node_limit > 0 || graph.edge_limit > 0) {
    Say(absl::StrCat("Dropping nodes with <= ", FormatValue(graph.node_limit, unit), " ", UnitName(unit),
                     "; edges with <= ", FormatValue(graph.edge_limit, unit), " abs(", UnitName(unit), ")"));
  }
  const bool svg = flags.mode == Mode::kSvg || flags.mode == Mode::kWeb;
  std::string drawing = DotReport(graph, {.unit = unit,
                                          .program = program,
                                          .heapcheck = flags.heapcheck,
                                          .page = flags.mode == Mode::kPdf,
                                          .least_width = svg ? 1.0 : 0.0,  // browsers hardly show less
                                          .jeprof_compat = flags.jeprof_compat});
  if (form.graphviz != nullptr) {
    absl::StatusOr<std::string> drawn = RunTool({"dot", absl::StrCat("-T", form.graphviz)}, drawing);
    if (!drawn.ok()) {
      Say(absl::StrCat(drawn.status().message(), ", graphviz' program, to draw the graph with",
                       " (--dot prints the graph without it)"));
      return kUnreadable;
    }
    drawing = svg ? BrowserSvg(*drawn) : *std::move(drawn);
  }
  if (form.suffix == nullptr) {
    absl::StrAppend(text, drawing);
    return kDone;
  }
  const absl::StatusOr<std::string> file = WriteTemporary(drawing, form.suffix);
  if (!file.ok()) {
    Say(file.status().message());
    return kUnreadable;
  }
  // The file stays: a viewer that runs already may read it later.
  Say(absl::StrCat("the graph is in ", *file));
  if (absl::Status shown = RunViewer(Viewers(flags, *file)); !shown.ok()) {
    Say(absl::StrCat("nothing to show it with: ", shown.message()));
    return kUnreadable;
  }
  return kDone;
}

}  // namespace leakshim
