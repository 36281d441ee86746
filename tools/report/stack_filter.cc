#include "report/stack_filter.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace leakshim {
absl::StatusOr<std::unique_ptr<RE2>> CompileRegex(const std::string& pattern, absl::string_view option) {
  if (pattern.empty()) return nullptr;
  RE2::Options options;
  options.set_log_errors(false);
  auto expression = std::make_unique<RE2>(pattern, options);
  if (!expression->ok()) {
    return absl::InvalidArgumentError(absl::StrCat("--", option, "=", pattern, ": ", expression->error()));
  }
  return expression;
}

StackFilter::StackFilter(const ProfileSum& sum, CodeNames& names, const CallGraphOptions& options)
    : sum_(sum),
      names_(names),
      jeprof_compat_(options.jeprof_compat),
      allocator_frames_(options.allocator_frames == nullptr ? AllocatorFrames::BuiltIn() : *options.allocator_frames),
      locations_(sum.locations().size()) {}

absl::StatusOr<std::unique_ptr<StackFilter>> StackFilter::Make(const ProfileSum& sum, CodeNames& names,
                                                               const CallGraphOptions& options) {
  auto filter = std::unique_ptr<StackFilter>(new StackFilter(sum, names, options));
  struct {
    const std::string& pattern;
    const char* option;
    std::unique_ptr<RE2>& to;
  } expressions[] = {
      {options.focus, "focus", filter->focus_},       {options.also_focus, "focus", filter->also_focus_},
      {options.ignore, "ignore", filter->ignore_},    {options.retain, "retain", filter->retain_},
      {options.exclude, "exclude", filter->exclude_}, {options.show, "show", filter->show_},
      {options.hide, "hide", filter->hide_},          {options.show_from, "show_from", filter->show_from_}};
  for (auto& expression : expressions) {
    absl::StatusOr<std::unique_ptr<RE2>> compiled = CompileRegex(expression.pattern, expression.option);
    if (!compiled.ok()) return compiled.status();
    expression.to = *std::move(compiled);
  }
  return filter;
}

bool StackFilter::Apply(const SumStack& stack, std::vector<LocationId>* kept) {
  kept->clear();
  const absl::Span<const LocationId> locations = sum_.StackLocations(stack);
  for (size_t i = 0; i < locations.size(); ++i) {
    const LocationId location = locations[i];
    const Answers& answers = AnswersOf(location);
    // A hidden function goes with everything that it called; the last one that has a name stays.
    const bool caller_named = i + 1 < locations.size() && names_.Of(locations[i + 1]).known;
    if (answers.allocator == AllocatorFrame::kAlways ||
        (answers.allocator == AllocatorFrame::kPlumbing && caller_named && !jeprof_compat_)) {
      kept->clear();
      continue;
    }
    if ((retain_ != nullptr && !answers.retained) || answers.excluded) continue;
    kept->push_back(location);
  }
  if (kept->empty() && (!jeprof_compat_ || retain_ != nullptr || exclude_ != nullptr)) return false;
  auto any = [&](bool Answers::*answer) {
    return std::any_of(kept->begin(), kept->end(), [&](LocationId id) { return locations_[id].*answer; });
  };
  if (focus_ != nullptr && !any(&Answers::focused)) return false;
  if (also_focus_ != nullptr && !any(&Answers::also_focused)) return false;
  if (ignore_ != nullptr && any(&Answers::ignored)) return false;
  if (show_ == nullptr && hide_ == nullptr && show_from_ == nullptr) return true;
  if (show_from_ != nullptr) {
    const auto begin = std::find_if(kept->rbegin(), kept->rend(), [&](LocationId id) { return locations_[id].begins; });
    kept->erase(begin.base(), kept->end());
  }
  std::erase_if(*kept, [&](LocationId id) { return !locations_[id].shown; });
  return !kept->empty();
}

const CodeName& StackFilter::NameOf(LocationId location) {
  AnswersOf(location);
  const auto shortened = shortened_.find(location);
  return shortened == shortened_.end() ? names_.Of(location) : shortened->second;
}

void StackFilter::ChooseFunctions(LocationId location, const CodeName& name, Answers* answers) {
  const auto matches = [](const SourceFrame& frame, const RE2& expression) {
    return RE2::PartialMatch(ShownName(frame), expression) || RE2::PartialMatch(FileLine(frame), expression);
  };
  CodeName left = name;
  std::erase_if(left.functions, [&](const SourceFrame& frame) {
    return (show_ != nullptr && !matches(frame, *show_)) || (hide_ != nullptr && matches(frame, *hide_));
  });
  if (show_from_ != nullptr) {
    const auto first = std::find_if(left.functions.begin(), left.functions.end(),
                                    [&](const SourceFrame& frame) { return matches(frame, *show_from_); });
    answers->begins = first != left.functions.end();
    if (answers->begins) left.functions.erase(left.functions.begin(), first);
  }
  answers->shown = !left.functions.empty();
  if (answers->shown && left.functions.size() < name.functions.size()) shortened_[location] = std::move(left);
}

const StackFilter::Answers& StackFilter::AnswersOf(LocationId location) {
  Answers& answers = locations_[location];
  if (answers.known) return answers;
  answers.known = true;
  const CodeName& name = names_.Of(location);
  const std::string outermost = ShownName(name.functions.front());
  const std::string address = absl::StrFormat("%016x", sum_.locations()[location].address);
  answers.allocator = allocator_frames_.Classify(outermost);
  auto frame_matches = [&](const std::unique_ptr<RE2>& expression) {
    return expression != nullptr && RE2::PartialMatch(name.known ? outermost : address, *expression);
  };
  answers.retained = frame_matches(retain_);
  answers.excluded = frame_matches(exclude_);
  auto stack_matches = [&](const std::unique_ptr<RE2>& expression) {
    if (expression == nullptr) return false;
    if (RE2::PartialMatch(address, *expression)) return true;
    return std::any_of(name.functions.begin(), name.functions.end(), [&](const SourceFrame& frame) {
      return RE2::PartialMatch(ShownName(frame), *expression) || RE2::PartialMatch(FileLine(frame), *expression);
    });
  };
  answers.focused = stack_matches(focus_);
  answers.also_focused = stack_matches(also_focus_);
  answers.ignored = stack_matches(ignore_);
  if (show_ != nullptr || hide_ != nullptr || show_from_ != nullptr) ChooseFunctions(location, name, &answers);
  return answers;
}

absl::StatusOr<double> KeptValue(const ProfileSum& sum, CodeNames& names, const CallGraphOptions& options) {
  const absl::StatusOr<std::unique_ptr<StackFilter>> filter = StackFilter::Make(sum, names, options);
  if (!filter.ok()) return filter.status();
  double value = 0;
  std::vector<LocationId> kept;
  for (const SumStack& stack : sum.stacks()) {
    if ((*filter)->Apply(stack, &kept)) value += ValueOf(stack.value, options.value);
  }
  return value;
}

absl::StatusOr<std::vector<KeptStack>> KeepStacks(const ProfileSum& sum, CodeNames& names,
                                                  const CallGraphOptions& options) {
  absl::StatusOr<std::unique_ptr<StackFilter>> filter = StackFilter::Make(sum, names, options);
  if (!filter.ok()) return filter.status();
  const bool chooses = !options.focus.empty() || !options.ignore.empty() || !options.retain.empty() ||
                       !options.exclude.empty() || !options.show.empty() || !options.hide.empty() ||
                       !options.show_from.empty();
  std::vector<KeptStack> stacks;
  std::vector<LocationId> kept;
  for (const SumStack& stack : sum.stacks()) {
    if (!(*filter)->Apply(stack, &kept)) {
      if (chooses) continue;
      kept = {sum.StackLocations(stack).back()};
    }
    stacks.push_back(KeptStack{.locations = kept, .value = stack.value, .label = stack.label});
  }
  return stacks;
}

}  // namespace leakshim
