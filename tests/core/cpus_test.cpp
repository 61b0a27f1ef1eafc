// tests/core/cpus_test.cpp: CPU quotas are found wherever a system or a container puts them. Each test writes
// its own /proc/self and /sys/fs/cgroup below a temporary directory.
#include <weir/core/cpus.hpp>

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>

#include <sched.h>
#include <stdlib.h>

namespace weir {
namespace {

class Cpus : public testing::Test {
 protected:
  Cpus() {
    std::string name = std::filesystem::temp_directory_path() / "weir-cpus-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
    root_ = name;
  }
  ~Cpus() override { std::filesystem::remove_all(root_); }

  void put(const std::string& file, const std::string& text) {
    const std::filesystem::path path = root_ + file;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }

  void put_v2(const std::string& cgroup, const std::string& mount_root = "/") {
    put("/proc/self/cgroup", "0::" + cgroup + "\n");
    put("/proc/self/mountinfo",
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "29 22 0:26 " +
            mount_root + " /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
  }

  void put_v1(const std::string& cgroup, const std::string& mount_root) {
    put("/proc/self/cgroup", "12:memory:/elsewhere\n4:cpu,cpuacct:" + cgroup + "\n1:name=systemd:" + cgroup + "\n");
    put("/proc/self/mountinfo", "30 25 0:27 " + mount_root +
                                    " /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
                                    "31 25 0:28 " +
                                    mount_root +
                                    " /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n");
  }

  void put_v1_quota(const std::string& cgroup, const std::string& quota, const std::string& period) {
    put("/sys/fs/cgroup/cpu,cpuacct" + cgroup + "/cpu.cfs_quota_us", quota + "\n");
    put("/sys/fs/cgroup/cpu,cpuacct" + cgroup + "/cpu.cfs_period_us", period + "\n");
  }

  std::optional<unsigned> quota() const { return cgroup_cpus(root_); }

  std::string root_;
};

TEST_F(Cpus, have_no_quota_where_there_are_no_cgroups) { EXPECT_EQ(quota(), std::nullopt); }

TEST_F(Cpus, read_the_quota_of_v2_rounded_up) {
  put_v2("/user.slice/job");
  const struct {
    const char* text;
    std::optional<unsigned> cpus;
  } rows[] = {
      {"max 100000\n", std::nullopt},
      {"100000 100000\n", 1},
      {"100001 100000\n", 2},
      {"1000 100000\n", 1},
      {"350000 100000\n", 4},
      {"200000 50000\n", 4},
      {"200000\n", std::nullopt},
      {"", std::nullopt},
      {"100000 0\n", std::nullopt},
      {"-5 100000\n", std::nullopt},
      {"1e5 100000\n", std::nullopt},
      {"18446744073709551615 1\n", 4294967295u},
      {"18446744073709551616 1\n", std::nullopt},
  };
  for (const auto& row : rows) {
    put("/sys/fs/cgroup/user.slice/job/cpu.max", row.text);
    EXPECT_EQ(quota(), row.cpus) << row.text;
  }
}

TEST_F(Cpus, obey_the_tightest_quota_on_the_way_up) {
  put_v2("/a/b/c");
  put("/sys/fs/cgroup/a/b/c/cpu.max", "800000 100000\n");
  EXPECT_EQ(quota(), 8u);
  put("/sys/fs/cgroup/a/cpu.max", "250000 100000\n");
  EXPECT_EQ(quota(), 3u);
  put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(quota(), 3u);
  put("/sys/fs/cgroup/a/other/cpu.max", "100000 100000\n");
  EXPECT_EQ(quota(), 3u);
}

TEST_F(Cpus, look_at_the_mount_point_when_the_container_sees_only_itself) {
  put_v2("/");
  put("/sys/fs/cgroup/cpu.max", "150000 100000\n");
  EXPECT_EQ(quota(), 2u);
}

TEST_F(Cpus, look_at_the_mount_point_when_the_cgroup_lies_outside_the_mount) {
  for (const char* cgroup : {"/../sibling", "/system.slice/docker-1.scope", "/kubepods-and-more", "/.."}) {
    put_v2(cgroup, "/kubepods");
    put("/sys/fs/cgroup/cpu.max", "500000 100000\n");
    put("/sys/cpu.max", "100000 100000\n");
    EXPECT_EQ(quota(), 5u) << cgroup;
  }
}

TEST_F(Cpus, subtract_the_mounted_cgroup_from_the_path) {
  put_v2("/kubepods/pod1/box", "/kubepods");
  put("/sys/fs/cgroup/pod1/cpu.max", "600000 100000\n");
  EXPECT_EQ(quota(), 6u);
}

TEST_F(Cpus, read_the_quota_of_v1) {
  put_v1("/docker/1f", "/");
  put_v1_quota("/docker/1f", "-1", "100000");
  EXPECT_EQ(quota(), std::nullopt);
  put_v1_quota("/docker/1f", "250000", "100000");
  EXPECT_EQ(quota(), 3u);
  put_v1_quota("/docker", "50000", "25000");
  EXPECT_EQ(quota(), 2u);
}

TEST_F(Cpus, read_v1_in_a_container_that_mounts_its_own_cgroup) {
  put_v1("/docker/1f", "/docker/1f");
  put_v1_quota("", "150000", "100000");
  EXPECT_EQ(quota(), 2u);
}

TEST_F(Cpus, obey_both_versions_where_both_are_mounted) {
  put("/proc/self/cgroup", "2:cpu:/one\n0::/two\n");
  put("/proc/self/mountinfo",
      "31 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu\n"
      "32 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  put_v1_quota("/one", "400000", "100000");
  EXPECT_EQ(quota(), 4u);
  put("/sys/fs/cgroup/unified/two/cpu.max", "300000 100000\n");
  EXPECT_EQ(quota(), 3u);
}

TEST_F(Cpus, find_mount_points_and_cgroups_with_odd_names) {
  put("/proc/self/cgroup", "0::/a:b c\n");
  put("/proc/self/mountinfo", "32 25 0:29 / /mnt/my\\040cgroups rw master:1 propagate_from:2 - cgroup2 none rw\n");
  put("/mnt/my cgroups/a:b c/cpu.max", "700000 100000\n");
  EXPECT_EQ(quota(), 7u);
}

TEST_F(Cpus, prefer_the_mount_that_shows_most_of_the_path) {
  put("/proc/self/cgroup", "0::/a/b\n");
  put("/proc/self/mountinfo",
      "30 25 0:29 /x /other rw - cgroup2 none rw\n31 25 0:29 /a/b /own rw - cgroup2 none rw\n"
      "32 25 0:29 / /all rw - cgroup2 none rw\n33 25 0:29 /a /half rw - cgroup2 none rw\n");
  put("/other/cpu.max", "100000 100000\n");
  put("/all/a/cpu.max", "400000 100000\n");
  EXPECT_EQ(quota(), 4u);
}

TEST_F(Cpus, survive_files_that_make_no_sense) {
  put("/proc/self/cgroup", "\n:\n::\n0\n0::\n0::relative\n4:cpu:\n:::::\n");
  put("/proc/self/mountinfo", "\n - \n - cgroup2\n1 2 3 4 - cgroup2 x y\na b c / /m\\ - cgroup x cpu\n\\777 - cgroup2");
  put("/m/cpu.max", "nonsense");
  EXPECT_EQ(quota(), std::nullopt);
}

TEST(AvailableParallelism, is_at_least_one_and_at_most_the_affinity_mask) {
  EXPECT_GE(available_parallelism(), 1u);
  EXPECT_LE(available_parallelism(), affinity_cpus());
}

TEST(AvailableParallelism, follows_the_affinity_mask_of_the_thread) {
  std::thread([] {
    cpu_set_t allowed, one;
    ASSERT_EQ(::sched_getaffinity(0, sizeof allowed, &allowed), 0);
    CPU_ZERO(&one);
    int first = 0;
    while (!CPU_ISSET(first, &allowed)) ++first;
    CPU_SET(first, &one);
    ASSERT_EQ(::sched_setaffinity(0, sizeof one, &one), 0);
    EXPECT_EQ(affinity_cpus(), 1u);
    EXPECT_EQ(available_parallelism(), 1u);
  }).join();
}

}  // namespace
}  // namespace weir
