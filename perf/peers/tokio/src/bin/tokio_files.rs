//! peers/tokio: tokio's column in the table of files (see ../../../../files.py): tokio::fs on the current_thread runtime
//! and its blocking threads, 64 at a time.
//!
//!   tokio_files rand|seq|small|storm      in the directory WEIR_PERF_DIR, else /tmp

use std::future::Future;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;
use tokio::fs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{spawn, spawn_blocking};

const LANES: usize = 64;
const PAGE: usize = 4096;
const CHUNK: usize = 65536;
const RANDOM_BYTES: u64 = 256 << 20;
const RANDOM_READS: usize = 100_000;
const WHOLE: usize = 1 << 30;
const SMALL_FILES: usize = 10_000;
const SMALL_ROUNDS: usize = 4;
const STORM_FILES: usize = 1024;
const STORM_STATS: usize = 100_000;

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

extern "C" {
    fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
}

/// CPU time of all threads, in nanoseconds.
fn cpu() -> f64 {
    const CLOCK_PROCESS_CPUTIME_ID: i32 = 2;
    let mut t = Timespec { seconds: 0, nanoseconds: 0 };
    unsafe { clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &mut t) };
    t.seconds as f64 * 1e9 + t.nanoseconds as f64
}

struct Watch {
    wall: Instant,
    cpu: f64,
}

impl Watch {
    fn start() -> Self {
        Watch { wall: Instant::now(), cpu: cpu() }
    }
    fn since(&self) -> (f64, f64) {
        (self.wall.elapsed().as_nanos() as f64, cpu() - self.cpu)
    }
}

fn print(key: &str, spent: (f64, f64), operations: usize) {
    let operations = operations as f64;
    println!("{} {:.2}\n{}_cpu {:.2}", key, spent.0 / operations, key, spent.1 / operations);
}

fn names(place: &str, kind: &str, count: usize) -> Arc<Vec<String>> {
    Arc::new((0..count).map(|i| format!("{}/{}{}", place, kind, i)).collect())
}

async fn in_lanes<F, W>(count: usize, work: F)
where
    F: Fn(usize) -> W + Clone + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let lane = |first: usize| {
        let work = work.clone();
        async move {
            for i in (first..count).step_by(LANES) {
                work(i).await;
            }
        }
    };
    let handles: Vec<_> = (0..LANES).map(|i| spawn(lane(i))).collect();
    for handle in handles {
        handle.await.unwrap();
    }
}

async fn timed<F, W>(count: usize, work: F) -> (f64, f64)
where
    F: Fn(usize) -> W + Clone + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let watch = Watch::start();
    in_lanes(count, work).await;
    watch.since()
}

/// tokio's files have one position and read one piece at a time, so that this is what its users write.
async fn random(place: String) {
    let name = format!("{}/random", place);
    std::fs::write(&name, vec![b'x'; RANDOM_BYTES as usize]).unwrap();
    let file = Arc::new(std::fs::File::open(&name).unwrap());
    let read = move |i: usize| {
        let file = file.clone();
        async move {
            let mut r = 0x9e3779b97f4a7c15u64.wrapping_mul(i as u64 + 1);
            r ^= r << 13;
            r ^= r >> 7;
            let position = r % (RANDOM_BYTES / PAGE as u64) * PAGE as u64;
            let read_it = move || file.read_exact_at(&mut [0u8; PAGE], position).unwrap();
            spawn_blocking(read_it).await.unwrap();
        }
    };
    in_lanes(RANDOM_READS / 4, read.clone()).await;
    print("rand4k", timed(RANDOM_READS, read).await, RANDOM_READS);
}

async fn write_whole(name: &str) {
    let mut file = fs::File::create(name).await.unwrap();
    let bytes = vec![b'x'; CHUNK];
    for _ in 0..WHOLE / CHUNK {
        file.write_all(&bytes).await.unwrap();
    }
    file.flush().await.unwrap();
}

async fn read_whole(name: &str) {
    let mut file = fs::File::open(name).await.unwrap();
    let mut bytes = vec![0u8; CHUNK];
    while file.read(&mut bytes).await.unwrap() > 0 {}
}

async fn sequential(place: String) {
    let name = format!("{}/whole", place);
    write_whole(&name).await;
    fs::remove_file(&name).await.unwrap();
    let watch = Watch::start();
    write_whole(&name).await;
    print("seq_write", watch.since(), WHOLE / CHUNK);
    read_whole(&name).await;
    let watch = Watch::start();
    read_whole(&name).await;
    print("seq_read", watch.since(), WHOLE / CHUNK);
}

async fn small(place: String) {
    let all = names(&place, "f", SMALL_FILES);
    let mut sums = [(0.0, 0.0); 4];
    for round in 0..SMALL_ROUNDS {
        let (a, b, c, d) = (all.clone(), all.clone(), all.clone(), all.clone());
        let create = move |i: usize| {
            let a = a.clone();
            async move { fs::write(&a[i], &[b'x'; 1024]).await.unwrap() }
        };
        let read = move |i: usize| {
            let b = b.clone();
            async move { drop(fs::read(&b[i]).await.unwrap()) }
        };
        let stat = move |i: usize| {
            let c = c.clone();
            async move { drop(fs::metadata(&c[i]).await.unwrap()) }
        };
        let unlink = move |i: usize| {
            let d = d.clone();
            async move { fs::remove_file(&d[i]).await.unwrap() }
        };
        let spent = [
            timed(SMALL_FILES, create).await,
            timed(SMALL_FILES, read).await,
            timed(SMALL_FILES, stat).await,
            timed(SMALL_FILES, unlink).await,
        ];
        for (sum, each) in sums.iter_mut().zip(spent) {
            if round > 0 {
                *sum = (sum.0 + each.0, sum.1 + each.1);
            }
        }
    }
    for (key, sum) in ["create", "read", "stat1", "unlink1"].iter().zip(sums) {
        print(key, sum, SMALL_FILES * (SMALL_ROUNDS - 1));
    }
}

fn make_empty(all: &[String]) {
    for name in all {
        std::fs::File::create(name).unwrap();
    }
}

async fn storm(place: String) {
    let all = names(&place, "f", STORM_FILES);
    let others = names(&place, "x", STORM_FILES);
    let many = names(&place, "u", SMALL_FILES);
    make_empty(&all);
    let a = all.clone();
    let stat = move |i: usize| {
        let a = a.clone();
        async move { drop(fs::metadata(&a[i % STORM_FILES]).await.unwrap()) }
    };
    in_lanes(STORM_STATS / 10, stat.clone()).await;
    print("stat", timed(STORM_STATS, stat).await, STORM_STATS);
    let a = all.clone();
    let open = move |i: usize| {
        let a = a.clone();
        async move { drop(fs::File::open(&a[i % STORM_FILES]).await.unwrap()) }
    };
    print("open_close", timed(STORM_STATS, open).await, STORM_STATS);
    let rename = move |i: usize| {
        let odd = i / STORM_FILES % 2 == 1;
        let (from, to) = if odd { (others.clone(), all.clone()) } else { (all.clone(), others.clone()) };
        async move { fs::rename(&from[i % STORM_FILES], &to[i % STORM_FILES]).await.unwrap() }
    };
    print("rename", timed(20 * STORM_FILES, rename).await, 20 * STORM_FILES);
    make_empty(&many);
    let unlink = move |i: usize| {
        let many = many.clone();
        async move { fs::remove_file(&many[i]).await.unwrap() }
    };
    print("unlink", timed(SMALL_FILES, unlink).await, SMALL_FILES);
}

fn main() {
    let part = std::env::args().nth(1).unwrap_or_default();
    let below = std::env::var("WEIR_PERF_DIR").unwrap_or_else(|_| "/tmp".to_string());
    let place = format!("{}/tokio-files-{}", below, std::process::id());
    if !["rand", "seq", "small", "storm"].contains(&part.as_str()) {
        eprintln!("usage: tokio_files rand|seq|small|storm");
        std::process::exit(2);
    }
    std::fs::create_dir(&place).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let inside = place.clone();
    runtime.block_on(async move {
        match part.as_str() {
            "rand" => random(inside).await,
            "seq" => sequential(inside).await,
            "small" => small(inside).await,
            _ => storm(inside).await,
        }
    });
    std::fs::remove_dir_all(&place).unwrap();
}
