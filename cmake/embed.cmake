# Turns files into a C++ source: cmake -DOUTPUT=x.cpp -DFILES=a;b -P embed.cmake. The source defines
# std::string_view showcase_asset(std::string_view name): the bytes of the file of that name, or
# nothing if there is none. Bytes, not a literal: any content will do.
set(arrays "")
set(cases "")
set(index 0)
foreach(path IN LISTS FILES)
  cmake_path(GET path FILENAME name)
  file(READ "${path}" bytes HEX)
  string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${bytes}")
  string(APPEND arrays "constexpr char asset_${index}[] = {${bytes}'\\0'};\n")
  string(APPEND cases "  if (name == \"${name}\") return {asset_${index}, sizeof(asset_${index}) - 1};\n")
  math(EXPR index "${index} + 1")
endforeach()
file(WRITE "${OUTPUT}" "#include \"showcase_assets.hpp\"\n\nnamespace {\n${arrays}}  // namespace\n\n"
     "std::string_view showcase_asset([[maybe_unused]] std::string_view name) {\n${cases}  return {};\n}\n")
