//! peers/tokio: tokio's column in the in-process table (see ../../../../micro.py): the current_thread runtime, or
//! multi_thread with two workers for "mt".
//!
//!   tokio_micro st|mem|mt

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, Mutex, Notify};
use tokio::task::{spawn, yield_now};

type Boxed = Pin<Box<dyn Future<Output = u64> + Send>>;

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

fn resident_bytes() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

struct Stopwatch {
    wall: Instant,
    cpu: f64,
}

impl Stopwatch {
    fn start() -> Self {
        Stopwatch { wall: Instant::now(), cpu: cpu() }
    }
    fn done(&self, key: &str, operations: u64) {
        println!("{} {:.2}", key, self.wall.elapsed().as_nanos() as f64 / operations as f64);
    }
    fn done_with_cpu(&self, key: &str, operations: u64) {
        let used = cpu() - self.cpu;
        self.done(key, operations);
        println!("{}_cpu {:.2}", key, used / operations as f64);
    }
}

#[inline(never)]
async fn leaf(x: u64) -> u64 {
    black_box(x) + 1
}

fn boxed_leaf(x: u64) -> Boxed {
    Box::pin(async move { black_box(x) + 1 })
}

fn deep(n: u64) -> Boxed {
    Box::pin(async move {
        if n == 0 {
            0
        } else {
            deep(n - 1).await + 1
        }
    })
}

async fn yield_many(n: u64) {
    for _ in 0..n {
        yield_now().await;
    }
}

async fn spawn_many(n: u64) {
    let handles: Vec<_> = (0..n).map(|i| spawn(async move { i })).collect();
    for handle in handles {
        black_box(handle.await.unwrap());
    }
}

/// Runs `count` tasks made by `make` and waits for them.
async fn in_parallel<F: Future<Output = ()> + Send + 'static>(count: u64, make: impl Fn() -> F) {
    let handles: Vec<_> = (0..count).map(|_| spawn(make())).collect();
    for handle in handles {
        handle.await.unwrap();
    }
}

async fn send_all(sender: mpsc::Sender<u64>, n: u64) {
    for i in 0..n {
        sender.send(i).await.unwrap();
    }
}

async fn receive_all(mut receiver: mpsc::Receiver<u64>) {
    let mut sum = 0;
    while let Some(x) = receiver.recv().await {
        sum += x;
    }
    black_box(sum);
}

async fn awaits_and_spawns() {
    let mut sum = 0;
    let watch = Stopwatch::start();
    for i in 0..10_000_000 {
        sum += leaf(i).await;
    }
    watch.done("ready_await", 10_000_000);
    let watch = Stopwatch::start();
    for i in 0..10_000_000 {
        sum += boxed_leaf(i).await;
    }
    watch.done("ready_await_heap", 10_000_000);
    let watch = Stopwatch::start();
    for _ in 0..1000 {
        sum += deep(1000).await;
    }
    watch.done("depth_level", 1_000_000);
    let watch = Stopwatch::start();
    for i in 0..1_000_000u64 {
        sum += spawn(async move { i }).await.unwrap();
    }
    watch.done("spawn_join", 1_000_000);
    let watch = Stopwatch::start();
    spawn_many(1_000_000).await;
    watch.done("spawn_many", 1_000_000);
    black_box(sum);
}

async fn yields_and_channels() {
    let watch = Stopwatch::start();
    yield_many(2_000_000).await;
    watch.done("yield_1", 2_000_000);
    let watch = Stopwatch::start();
    in_parallel(100, || yield_many(20_000)).await;
    watch.done("yield_100", 2_000_000);
    for capacity in [1, 64] {
        let (sender, receiver) = mpsc::channel(capacity);
        let watch = Stopwatch::start();
        let sending = spawn(send_all(sender, 2_000_000));
        receive_all(receiver).await;
        sending.await.unwrap();
        watch.done(&format!("chan_same_cap{}", capacity), 2_000_000);
    }
}

async fn hold_and_yield(mutex: Arc<Mutex<u64>>, n: u64) {
    for _ in 0..n {
        let mut value = mutex.lock().await;
        *value += 1;
        yield_now().await;
    }
}

async fn add(mutex: Arc<Mutex<u64>>, n: u64) {
    for _ in 0..n {
        *mutex.lock().await += 1;
    }
}

async fn locks() {
    let mutex = Arc::new(Mutex::new(0));
    let watch = Stopwatch::start();
    add(mutex.clone(), 10_000_000).await;
    watch.done("mutex_uncontended", 10_000_000);
    let watch = Stopwatch::start();
    in_parallel(8, || hold_and_yield(mutex.clone(), 100_000)).await;
    watch.done("mutex_contended8", 800_000);
}

/// A sleep that has been polled once, so that it stands in the timer wheel.
async fn armed(milliseconds: u64) -> Pin<Box<tokio::time::Sleep>> {
    let mut sleep = Box::pin(tokio::time::sleep(Duration::from_millis(milliseconds)));
    std::future::poll_fn(|context| {
        let _ = sleep.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await;
    sleep
}

async fn timers() {
    const COUNT: u64 = 1_000_000;
    for pass in 0..2 {
        let mut alive = Vec::with_capacity(COUNT as usize);
        let watch = Stopwatch::start();
        for i in 0..COUNT {
            alive.push(armed(60_000 + i % 600_000).await);
        }
        if pass == 1 {
            watch.done("timer_insert", COUNT);
        }
        let watch = Stopwatch::start();
        drop(alive);
        if pass == 1 {
            watch.done("timer_cancel", COUNT);
        }
    }
}

async fn memory() {
    const COUNT: u64 = 1_000_000;
    let before = resident_bytes();
    let gate = Arc::new(Notify::new());
    let mut handles = Vec::with_capacity(COUNT as usize);
    for _ in 0..COUNT {
        let gate = gate.clone();
        handles.push(spawn(async move { gate.notified().await }));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    println!("idle_task_bytes {:.0}", (resident_bytes() - before) / COUNT as f64);
    let watch = Stopwatch::start();
    gate.notify_waiters();
    for handle in handles {
        handle.await.unwrap();
    }
    watch.done("wake_all", COUNT);
}

/// Two threads with a runtime each: every message that finds its receiver asleep must wake another thread.
async fn ping_pong() {
    const COUNT: u64 = 200_000;
    let (there, mut at_there) = mpsc::channel::<u64>(1);
    let (back, mut at_back) = mpsc::channel::<u64>(1);
    let other = std::thread::spawn(move || {
        Builder::new_current_thread().build().unwrap().block_on(async move {
            while let Some(x) = at_there.recv().await {
                back.send(x).await.unwrap();
            }
        })
    });
    let watch = Stopwatch::start();
    for i in 0..COUNT {
        there.send(i).await.unwrap();
        at_back.recv().await.unwrap();
    }
    watch.done_with_cpu("pingpong_threads_rt", COUNT);
    drop(there);
    other.join().unwrap();
}

async fn two_threads() {
    for capacity in [1, 64, 1024] {
        let (sender, receiver) = mpsc::channel(capacity);
        let watch = Stopwatch::start();
        let sending = spawn(send_all(sender, 1_000_000));
        spawn(receive_all(receiver)).await.unwrap();
        sending.await.unwrap();
        watch.done_with_cpu(&format!("chan_cross_cap{}", capacity), 1_000_000);
    }
    ping_pong().await;
    let mutex = Arc::new(Mutex::new(0));
    let watch = Stopwatch::start();
    in_parallel(2, || add(mutex.clone(), 1_000_000)).await;
    watch.done("mutex_cross2", 2_000_000);
    let watch = Stopwatch::start();
    spawn(spawn_many(1_000_000)).await.unwrap();
    watch.done_with_cpu("spawn_many_2w", 1_000_000);
    let watch = Stopwatch::start();
    in_parallel(100, || yield_many(20_000)).await;
    watch.done("yield_100_2w", 2_000_000);
}

async fn single_thread() {
    awaits_and_spawns().await;
    yields_and_channels().await;
    locks().await;
    timers().await;
}

fn main() {
    let mode = std::env::args().nth(1).unwrap_or_default();
    let mut builder = match mode.as_str() {
        "st" | "mem" => Builder::new_current_thread(),
        "mt" => Builder::new_multi_thread(),
        _ => {
            eprintln!("usage: tokio_micro st|mem|mt");
            std::process::exit(2);
        }
    };
    let runtime = builder.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move {
        let body = spawn(async move {
            match mode.as_str() {
                "st" => single_thread().await,
                "mem" => memory().await,
                _ => two_threads().await,
            }
        });
        body.await.unwrap()
    });
}
