// peers/go_micro: Go's column in the in-process table (see ../../micro.py): goroutines and channels on one processor, or
// on two for "mt".
//
//	go_micro st|mem|mt
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

var sink int

func residentBytes() float64 {
	text, _ := os.ReadFile("/proc/self/statm")
	pages, _ := strconv.ParseUint(strings.Fields(string(text))[1], 10, 64)
	return float64(pages) * 4096
}

func cpu() float64 {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return float64(r.Utime.Nano() + r.Stime.Nano())
}

type stopwatch struct {
	wall time.Time
	cpu  float64
}

func start() stopwatch { return stopwatch{time.Now(), cpu()} }

func (s stopwatch) done(key string, n int) {
	fmt.Printf("%s %.2f\n", key, float64(time.Since(s.wall).Nanoseconds())/float64(n))
}

func (s stopwatch) doneWithCPU(key string, n int) {
	used := cpu() - s.cpu
	s.done(key, n)
	fmt.Printf("%s_cpu %.2f\n", key, used/float64(n))
}

//go:noinline
func leaf(x int) int { return x + 1 }

//go:noinline
func deep(n int) int {
	if n == 0 {
		return 0
	}
	return deep(n-1) + 1
}

func callsAndSpawns() {
	const calls, spawns = 10000000, 1000000
	s := start()
	for i := 0; i < calls; i++ {
		sink += leaf(i)
	}
	s.done("ready_await", calls)
	s = start()
	for i := 0; i < 1000; i++ {
		sink += deep(1000)
	}
	s.done("depth_level", 1000000)
	s = start()
	for i := 0; i < spawns; i++ {
		i, c := i, make(chan int, 1)
		go func() { c <- i }()
		sink += <-c
	}
	s.done("spawn_join", spawns)
	s = start()
	spawnMany(spawns)
	s.done("spawn_many", spawns)
}

func spawnMany(n int) {
	var all sync.WaitGroup
	all.Add(n)
	for i := 0; i < n; i++ {
		go func() { all.Done() }()
	}
	all.Wait()
}

// inParallel runs f in k goroutines and waits for them.
func inParallel(k int, f func()) {
	var all sync.WaitGroup
	all.Add(k)
	for i := 0; i < k; i++ {
		go func() {
			f()
			all.Done()
		}()
	}
	all.Wait()
}

func yield(n int) {
	for i := 0; i < n; i++ {
		runtime.Gosched()
	}
}

func yieldsChannelsLocks() {
	s := start()
	yield(2000000)
	s.done("yield_1", 2000000)
	s = start()
	inParallel(100, func() { yield(20000) })
	s.done("yield_100", 2000000)
	for _, capacity := range []int{1, 64} {
		s = start()
		pass(capacity, 2000000)
		s.done(fmt.Sprintf("chan_same_cap%d", capacity), 2000000)
	}
	var m sync.Mutex
	s = start()
	for i := 0; i < 10000000; i++ {
		m.Lock()
		sink++
		m.Unlock()
	}
	s.done("mutex_uncontended", 10000000)
	s = start()
	inParallel(8, func() {
		for i := 0; i < 100000; i++ {
			m.Lock()
			sink++
			runtime.Gosched()
			m.Unlock()
		}
	})
	s.done("mutex_contended8", 800000)
}

// pass sends n numbers through a channel from one goroutine to another.
func pass(capacity, n int) {
	c, sum := make(chan int, capacity), make(chan int)
	go func() {
		for i := 0; i < n; i++ {
			c <- i
		}
		close(c)
	}()
	go func() {
		total := 0
		for x := range c {
			total += x
		}
		sum <- total
	}()
	sink += <-sum
}

func timers() {
	alive := make([]*time.Timer, 1000000)
	for round := 0; round < 2; round++ {
		s := start()
		for i := range alive {
			alive[i] = time.NewTimer(time.Duration(60000+i%600000) * time.Millisecond)
		}
		if round == 1 {
			s.done("timer_insert", len(alive))
		}
		s = start()
		for i := range alive {
			alive[i].Stop()
		}
		if round == 1 {
			s.done("timer_cancel", len(alive))
		}
	}
}

func memory() {
	const count = 1000000
	var all sync.WaitGroup
	runtime.GC()
	before := residentBytes()
	gate := make(chan struct{})
	all.Add(count)
	for i := 0; i < count; i++ {
		go func() { <-gate; all.Done() }()
	}
	time.Sleep(300 * time.Millisecond)
	fmt.Printf("idle_task_bytes %.0f\n", (residentBytes()-before)/count)
	s := start()
	close(gate)
	all.Wait()
	s.done("wake_all", count)
}

// pingPong bounces numbers between two goroutines, each on a thread of its own.
func pingPong() {
	const count = 200000
	there, back := make(chan int), make(chan int)
	go func() {
		runtime.LockOSThread()
		for x := range there {
			back <- x
		}
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s := start()
	for i := 0; i < count; i++ {
		there <- i
		<-back
	}
	s.doneWithCPU("pingpong_threads_rt", count)
	close(there)
}

func twoThreads() {
	for _, capacity := range []int{1, 64, 1024} {
		s := start()
		pass(capacity, 1000000)
		s.doneWithCPU(fmt.Sprintf("chan_cross_cap%d", capacity), 1000000)
	}
	pingPong()
	var m sync.Mutex
	s := start()
	inParallel(2, func() {
		for i := 0; i < 1000000; i++ {
			m.Lock()
			sink++
			m.Unlock()
		}
	})
	s.done("mutex_cross2", 2000000)
	s = start()
	spawnMany(1000000)
	s.doneWithCPU("spawn_many_2w", 1000000)
	s = start()
	inParallel(100, func() { yield(20000) })
	s.done("yield_100_2w", 2000000)
}

func main() {
	mode := ""
	if len(os.Args) == 2 {
		mode = os.Args[1]
	}
	runtime.GOMAXPROCS(1)
	switch mode {
	case "st":
		callsAndSpawns()
		yieldsChannelsLocks()
		timers()
	case "mem":
		memory()
	case "mt":
		runtime.GOMAXPROCS(2)
		twoThreads()
	default:
		fmt.Fprintln(os.Stderr, "usage: go_micro st|mem|mt")
		os.Exit(2)
	}
}
