# Takes the README's code apart: awk -v out=DIRECTORY -f readme_blocks.awk README.md writes
#   hello.cpp        the first block of C++
#   examples.cpp     the second block, which the rest stands behind, then every further one in a namespace of its own,
#                    and a main() that runs the main_task() of the block with the number given
#   N.expected       the block of text after block N: what that prints
/^```/ {
  if (kind != "") {
    if (kind == "cpp" && count > 2) print "}  // namespace" > program
    kind = ""
    next
  }
  kind = substr($0, 4)
  if (kind == "cpp") {
    program = out "/" (++count == 1 ? "hello.cpp" : "examples.cpp")
    printf "" > program
    if (count > 2) print "namespace block_" count " {" > program
    if (count > 1) print "#line " NR + 1 " \"README.md\"" > program
  }
  if (kind == "text" && count > 2) printed = out "/" count ".expected"
  next
}
kind == "cpp" { print > program }
kind == "text" && count > 2 { print > printed }
END {
  if (kind != "" || count < 3) exit 1
  print "#include <cstdlib>\nint main(int, char** argv) {\n  switch (std::atoi(argv[1])) {" > program
  for (i = 3; i <= count; ++i) print "    case " i ": return weir::run(block_" i "::main_task());" > program
  print "    default: return 2;\n  }\n}" > program
}
