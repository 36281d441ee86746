#include "options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace leakshim {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::vector<std::string>* messages;

void Collect(const char* text, size_t bytes) {
  ASSERT_GT(bytes, 0u);
  ASSERT_EQ(text[bytes - 1], '\n');
  messages->emplace_back(text, bytes - 1);
}

class OptionsTest : public ::testing::Test {
 protected:
  void SetUp() override { messages = &messages_; }

  bool Parse(const char* leakshim_conf, const char* malloc_conf = nullptr) {
    messages_.clear();
    return ParseOptions(leakshim_conf, malloc_conf, &options_, Collect);
  }

  Options options_;
  std::vector<std::string> messages_;
};

TEST_F(OptionsTest, WithoutAnyConfTheDefaultsHold) {
  EXPECT_TRUE(Parse(nullptr));
  EXPECT_THAT(messages_, IsEmpty());
  EXPECT_TRUE(options_.prof);
  EXPECT_TRUE(options_.prof_active);
  EXPECT_EQ(options_.lg_prof_sample, 19);
  EXPECT_STREQ(options_.prof_prefix.text, "leakshim");
  EXPECT_STREQ(options_.prof_label.text, "");
  EXPECT_EQ(options_.prof_mode, 0600u);
  EXPECT_EQ(options_.lg_prof_interval, -1);
  EXPECT_TRUE(options_.prof_time_interval.automatic);
  EXPECT_EQ(options_.prof_pressure.first, 90);
  EXPECT_EQ(options_.prof_pressure.second, 95);
  EXPECT_EQ(options_.prof_signal, 0);
  EXPECT_TRUE(options_.prof_final);
  EXPECT_EQ(options_.prof_keep, 64);
  EXPECT_EQ(options_.prof_disk, uint64_t{1} << 30);
  EXPECT_EQ(options_.prof_bt_max, 128);
  EXPECT_EQ(options_.prof_unwind, UnwindMode::kAuto);
  EXPECT_EQ(options_.prof_fork, ForkMode::kInherit);
  EXPECT_EQ(options_.prof_mem, uint64_t{64} << 20);
  EXPECT_TRUE(options_.prof_seed.random);
  EXPECT_FALSE(options_.from_malloc_conf);
}

TEST_F(OptionsTest, EveryTypeIsRead) {
  EXPECT_TRUE(
      Parse("prof:false,lg_prof_sample:0x10,prof_prefix:/srv/a b/%p,prof_mode:0640,lg_prof_interval:-1,"
            "prof_time_interval:5m,prof_pressure:70/80,prof_signal:SIGUSR2,prof_keep:010,prof_disk:64M,"
            "prof_unwind:libunwind,prof_fork:off,prof_mem:1048576,prof_seed:42,prof_label:a=b:c"));
  EXPECT_THAT(messages_, IsEmpty());
  EXPECT_FALSE(options_.prof);
  EXPECT_EQ(options_.lg_prof_sample, 16);
  EXPECT_STREQ(options_.prof_prefix.text, "/srv/a b/%p");
  EXPECT_EQ(options_.prof_mode, 0640u);
  EXPECT_FALSE(options_.prof_time_interval.automatic);
  EXPECT_EQ(options_.prof_time_interval.ns, 300'000'000'000u);
  EXPECT_EQ(options_.prof_pressure.first, 70);
  EXPECT_EQ(options_.prof_pressure.second, 80);
  EXPECT_EQ(options_.prof_signal, 12);
  EXPECT_EQ(options_.prof_keep, 8);
  EXPECT_EQ(options_.prof_disk, uint64_t{64} << 20);
  EXPECT_EQ(options_.prof_unwind, UnwindMode::kLibunwind);
  EXPECT_EQ(options_.prof_fork, ForkMode::kOff);
  EXPECT_EQ(options_.prof_mem, uint64_t{1} << 20);
  EXPECT_FALSE(options_.prof_seed.random);
  EXPECT_EQ(options_.prof_seed.value, 42u);
  EXPECT_STREQ(options_.prof_label.text, "a=b:c");
}

TEST_F(OptionsTest, DurationsNeedAUnitOrAreZero) {
  Parse("prof_time_interval:0");
  EXPECT_FALSE(options_.prof_time_interval.automatic);
  EXPECT_EQ(options_.prof_time_interval.ns, 0u);
  Parse("prof_time_interval:30s");
  EXPECT_EQ(options_.prof_time_interval.ns, 30'000'000'000u);
  Parse("prof_time_interval:1h");
  EXPECT_EQ(options_.prof_time_interval.ns, 3'600'000'000'000u);
  EXPECT_THAT(messages_, IsEmpty());
  for (const char* bad : {"30", "s", "", "1x", "-1s", "99999999999999999999h", "400d", "1h30m"}) {
    Parse((std::string("prof_time_interval:") + bad).c_str());
    EXPECT_THAT(messages_, ElementsAre(HasSubstr("not auto, 0 or a time such as 30s, 5m or 1h; using auto"))) << bad;
    EXPECT_TRUE(options_.prof_time_interval.automatic) << bad;
  }
}

TEST_F(OptionsTest, SignalsMayBeNamesOrNumbersThatCanBeHandled) {
  Parse("prof_signal:10");
  EXPECT_EQ(options_.prof_signal, 10);
  Parse("prof_signal:WINCH");
  EXPECT_EQ(options_.prof_signal, 28);
  Parse("prof_signal:40");
  EXPECT_EQ(options_.prof_signal, 40);
  EXPECT_THAT(messages_, IsEmpty());
  for (const char* bad : {"9", "SEGV", "KILL", "0", "32", "65", "usr1"}) {
    Parse((std::string("prof_signal:") + bad).c_str());
    EXPECT_EQ(messages_.size(), 1u) << bad;
    EXPECT_EQ(options_.prof_signal, 0) << bad;
  }
}

TEST_F(OptionsTest, BadValueIsOneLineAndTheDefaultIsKept) {
  EXPECT_TRUE(Parse("lg_prof_sample:99"));
  EXPECT_THAT(messages_,
              ElementsAre("leakshim: LEAKSHIM_CONF: lg_prof_sample:99: not a number from 0 to 63; using 19"));
  EXPECT_EQ(options_.lg_prof_sample, 19);
  Parse("prof_final:yes");
  EXPECT_THAT(messages_, ElementsAre("leakshim: LEAKSHIM_CONF: prof_final:yes: not true or false; using true"));
  Parse("prof_unwind:dwarf");
  EXPECT_THAT(messages_,
              ElementsAre("leakshim: LEAKSHIM_CONF: prof_unwind:dwarf: not auto, cfi, libunwind or fp; using auto"));
  Parse("prof_mem:1k");
  EXPECT_THAT(messages_, ElementsAre("leakshim: LEAKSHIM_CONF: prof_mem:1k: not a size in bytes such as 4096, 64K, 64M "
                                     "or 1G, at least 1M; using 64M"));
}

TEST_F(OptionsTest, NumbersMustBeWholeAndInRange) {
  for (const char* bad : {"", " 1", "1 ", "+1", "08", "0x", "1.5", "-1", "64", "18446744073709551616", "1K"}) {
    Parse((std::string("lg_prof_sample:") + bad).c_str());
    EXPECT_EQ(messages_.size(), 1u) << bad;
    EXPECT_EQ(options_.lg_prof_sample, 19) << bad;
  }
  for (const char* bad : {"-2", "-9223372036854775809", "64"}) {
    Parse((std::string("lg_prof_interval:") + bad).c_str());
    EXPECT_EQ(messages_.size(), 1u) << bad;
  }
  for (const char* bad : {"M", "99999999999G", "-1", "1MB", "1.5G"}) {
    Parse((std::string("prof_disk:") + bad).c_str());
    EXPECT_EQ(messages_.size(), 1u) << bad;
  }
  for (const char* bad : {"90", "95/90", "0/50", "50/101", "50/", "/50", "50/60/70"}) {
    Parse((std::string("prof_pressure:") + bad).c_str());
    EXPECT_EQ(messages_.size(), 1u) << bad;
  }
  Parse("prof_mode:0666");
  EXPECT_EQ(messages_.size(), 1u);
}

TEST_F(OptionsTest, LaterPairsWinAndABadOneLeavesTheEarlier) {
  Parse("lg_prof_sample:10,lg_prof_sample:12,lg_prof_sample:x");
  EXPECT_EQ(options_.lg_prof_sample, 12);
  EXPECT_THAT(messages_, ElementsAre(HasSubstr("using 12")));
}

TEST_F(OptionsTest, UnknownKeyNamesTheNearestOne) {
  EXPECT_TRUE(Parse("prof_finale:true,lg_prof_sample:3"));
  EXPECT_THAT(messages_, ElementsAre("leakshim: LEAKSHIM_CONF: prof_finale:true: no such option, ignored; "
                                     "did you mean prof_final?"));
  EXPECT_EQ(options_.lg_prof_sample, 3);
  Parse("prof_sample:3");
  EXPECT_THAT(messages_, ElementsAre(HasSubstr("did you mean lg_prof_sample?")));
  Parse("narenas:3");
  EXPECT_THAT(messages_, ElementsAre("leakshim: LEAKSHIM_CONF: narenas:3: no such option, ignored"));
}

TEST_F(OptionsTest, TextThatIsNoPairEndsTheReading) {
  Parse("lg_prof_sample:3,prof final:false,lg_prof_sample:4");
  EXPECT_EQ(options_.lg_prof_sample, 3);
  EXPECT_THAT(messages_, ElementsAre(AllOf(HasSubstr("prof final:false: not key:value"), HasSubstr("ignored"))));
  for (const char* bad : {"prof", ",prof:true", "prof:true,,prof_final:true", ":true", "prof:true, prof_final:true"}) {
    Parse(bad);
    EXPECT_EQ(messages_.size(), 1u) << bad;
  }
  for (const char* good : {"", "prof:true,"}) {
    Parse(good);
    EXPECT_THAT(messages_, IsEmpty()) << good;
  }
}

TEST_F(OptionsTest, HostileTextIsCutAndMadePrintable) {
  std::string conf = "prof_final:\x1b[2J" + std::string(10000, 'x');
  Parse(conf.c_str());
  ASSERT_EQ(messages_.size(), 1u);
  EXPECT_LT(messages_[0].size(), 512u);
  EXPECT_THAT(messages_[0], AllOf(Not(HasSubstr("\x1b")), HasSubstr("..."), HasSubstr("using true")));
  Parse(("prof_prefix:/" + std::string(5000, 'p')).c_str());
  EXPECT_THAT(messages_, ElementsAre(HasSubstr("not a text of at most 4095 bytes; using leakshim")));
  EXPECT_STREQ(options_.prof_prefix.text, "leakshim");
  Parse(("prof_prefix:" + std::string(4095, 'p')).c_str());
  EXPECT_THAT(messages_, IsEmpty());
  EXPECT_EQ(std::string(options_.prof_prefix.text).size(), 4095u);
}

TEST_F(OptionsTest, AbortConfMakesAnyErrorFatal) {
  EXPECT_TRUE(Parse("abort_conf:true"));
  EXPECT_FALSE(Parse("abort_conf:true,prof_finale:true"));
  EXPECT_FALSE(Parse("prof_final:1,abort_conf:true"));
  EXPECT_FALSE(Parse("abort_conf:true,x"));
  EXPECT_TRUE(Parse("prof_final:1,abort_conf:false"));
}

TEST_F(OptionsTest, ConfirmConfTellsValueAndSourceOfEveryOption) {
  Parse("confirm_conf:true,lg_prof_sample:0x10,prof_content:16,prof_unbias:false");
  EXPECT_THAT(messages_, Contains("leakshim: lg_prof_sample:0x10 (LEAKSHIM_CONF)"));
  EXPECT_THAT(messages_, Contains("leakshim: prof_final:true (default)"));
  EXPECT_THAT(messages_, Contains("leakshim: prof_content:16 (LEAKSHIM_CONF; accepted, has no effect yet)"));
  EXPECT_THAT(messages_, Contains("leakshim: prof_unbias:false (LEAKSHIM_CONF; accepted, has no meaning here)"));
  size_t options = 0;
#define OPTION(...) options++;
#include "options.def"
#undef OPTION
  EXPECT_EQ(messages_.size(), options);
}

TEST_F(OptionsTest, MallocConfCountsOnlyAloneAndWithProf) {
  Parse(nullptr, "lg_prof_sample:3,prof_final:false");
  EXPECT_FALSE(options_.from_malloc_conf);
  EXPECT_EQ(options_.lg_prof_sample, 19);
  Parse(nullptr, "prof:true,lg_prof_sample:3,prof:false");
  EXPECT_FALSE(options_.from_malloc_conf);
  EXPECT_TRUE(options_.prof);
  Parse("", "prof:true,lg_prof_sample:3");
  EXPECT_FALSE(options_.from_malloc_conf);
  EXPECT_EQ(options_.lg_prof_sample, 19);
  EXPECT_THAT(messages_, IsEmpty());
}

TEST_F(OptionsTest, MallocConfBringsJemallocsDefaults) {
  EXPECT_TRUE(Parse(nullptr, "abort_conf:true,narenas:2,prof:true,lg_prof_sample:17,dirty_decay_ms:-1"));
  EXPECT_THAT(messages_, IsEmpty());
  EXPECT_TRUE(options_.from_malloc_conf);
  EXPECT_TRUE(options_.prof);
  EXPECT_EQ(options_.lg_prof_sample, 17);
  EXPECT_STREQ(options_.prof_prefix.text, "jeprof");
  EXPECT_FALSE(options_.prof_final);
  EXPECT_FALSE(options_.prof_leak);
  EXPECT_FALSE(options_.abort_conf);
  EXPECT_FALSE(options_.prof_time_interval.automatic);
  EXPECT_EQ(options_.prof_time_interval.ns, 0u);
  EXPECT_EQ(options_.prof_keep, 0);
  EXPECT_EQ(options_.prof_disk, 0u);
  EXPECT_EQ(options_.prof_pressure.first, 0);
}

TEST_F(OptionsTest, MallocConfStringsOfBlogPostsWork) {
  Parse(nullptr, "prof:true,lg_prof_interval:30,lg_prof_sample:17,prof_prefix:/path/jeprof.out");
  EXPECT_EQ(options_.lg_prof_interval, 30);
  EXPECT_STREQ(options_.prof_prefix.text, "/path/jeprof.out");
  Parse(nullptr, "prof:true,prof_leak:true,lg_prof_sample:0,prof_final:true");
  EXPECT_EQ(options_.lg_prof_sample, 0);
  EXPECT_TRUE(options_.prof_final);
  EXPECT_TRUE(options_.prof_leak);
  EXPECT_THAT(messages_, IsEmpty());
}

TEST_F(OptionsTest, MallocConfClipsAsJemallocDoes) {
  Parse(nullptr, "prof:true,lg_prof_sample:-1");
  EXPECT_EQ(options_.lg_prof_sample, 63);
  Parse(nullptr, "prof:true,lg_prof_sample:100");
  EXPECT_EQ(options_.lg_prof_sample, 63);
  EXPECT_THAT(messages_, IsEmpty());
  Parse(nullptr, "prof:true,lg_prof_interval:100");
  EXPECT_THAT(messages_, ElementsAre(HasSubstr("leakshim: MALLOC_CONF: lg_prof_interval:100: ")));
  EXPECT_EQ(options_.lg_prof_interval, -1);
}

}  // namespace
}  // namespace leakshim
