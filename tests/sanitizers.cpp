// tests/sanitizers.cpp: how the sanitizers behave in the test programs, the same whether CTest or a
// person starts them. The environment (ASAN_OPTIONS and so on) still overrides each setting.

extern "C" const char* __asan_default_options();       // NOLINT(bugprone-reserved-identifier)
extern "C" const char* __tsan_default_options();       // NOLINT(bugprone-reserved-identifier)
extern "C" const char* __tsan_default_suppressions();  // NOLINT(bugprone-reserved-identifier)
extern "C" const char* __ubsan_default_options();      // NOLINT(bugprone-reserved-identifier)

#define SYMBOLIZER "external_symbolizer_path=" WEIR_SYMBOLIZER

extern "C" const char* __asan_default_options() {
  return "strict_string_checks=1:check_initialization_order=1:detect_leaks=1:" SYMBOLIZER;
}
extern "C" const char* __tsan_default_options() { return "halt_on_error=1:second_deadlock_stack=1:" SYMBOLIZER; }
// The shares of an exception_ptr are counted in libstdc++, where the sanitizer does not look: whoever drops the last
// one seems to race with those who read the exception before.
extern "C" const char* __tsan_default_suppressions() {
  return "race:^std::runtime_error::~runtime_error\n"
         "race:^std::logic_error::~logic_error\n"
         "race:^__cxa_free_exception\n";
}
extern "C" const char* __ubsan_default_options() { return "print_stacktrace=1:" SYMBOLIZER; }
