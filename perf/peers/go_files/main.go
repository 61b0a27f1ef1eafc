// peers/go_files: Go's column in the table of files (see ../../files.py): 64 goroutines and package os.
//
//	go_files rand|seq|small|storm      in the directory WEIR_PERF_DIR, else /tmp
package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	lanes       = 64
	page        = 4096
	chunk       = 65536
	randomBytes = 256 << 20
	randomReads = 500000
	whole       = 1 << 30
	smallFiles  = 10000
	smallRounds = 4
	stormFiles  = 1024
	stormStats  = 100000
)

var place string

func cpu() time.Duration {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

type watch struct {
	wall time.Time
	cpu  time.Duration
}

type spent struct{ wall, cpu time.Duration }

func begin() watch           { return watch{time.Now(), cpu()} }
func (w watch) since() spent { return spent{time.Since(w.wall), cpu() - w.cpu} }

func report(key string, s spent, operations int) {
	fmt.Printf("%s %.2f\n", key, float64(s.wall)/float64(operations))
	fmt.Printf("%s_cpu %.2f\n", key, float64(s.cpu)/float64(operations))
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func names(kind string, count int) []string {
	all := make([]string, count)
	for i := range all {
		all[i] = fmt.Sprintf("%s/%s%d", place, kind, i)
	}
	return all
}

// inLanes does 0..count-1, each lane every 64th.
func inLanes(count int, work func(i, lane int)) {
	var all sync.WaitGroup
	for first := 0; first < lanes; first++ {
		all.Add(1)
		go func(first int) {
			for i := first; i < count; i += lanes {
				work(i, first)
			}
			all.Done()
		}(first)
	}
	all.Wait()
}

func measured(key string, count int, work func(i, lane int)) {
	w := begin()
	inLanes(count, work)
	report(key, w.since(), count)
}

func random() {
	name := place + "/random"
	must(os.WriteFile(name, make([]byte, randomBytes), 0o666))
	file, err := os.Open(name)
	must(err)
	var pages [lanes][page]byte
	var states [lanes]uint64
	for i := range states {
		states[i] = 0x9e3779b97f4a7c15 * uint64(i+1)
	}
	read := func(_, lane int) {
		r := &states[lane]
		*r ^= *r << 13
		*r ^= *r >> 7
		*r ^= *r << 17
		_, err := file.ReadAt(pages[lane][:], int64(*r%(randomBytes/page))*page)
		must(err)
	}
	inLanes(randomReads/4, read)
	measured("rand4k", randomReads, read)
}

func writeWhole(name string) {
	file, err := os.Create(name)
	must(err)
	bytes := make([]byte, chunk)
	for done := 0; done < whole; done += chunk {
		_, err = file.Write(bytes)
		must(err)
	}
	must(file.Close())
}

func readWhole(name string) {
	file, err := os.Open(name)
	must(err)
	bytes := make([]byte, chunk)
	for err == nil {
		_, err = file.Read(bytes)
	}
	if err != io.EOF {
		panic(err)
	}
	must(file.Close())
}

func sequential() {
	name := place + "/whole"
	writeWhole(name)
	must(os.Remove(name))
	w := begin()
	writeWhole(name)
	report("seq_write", w.since(), whole/chunk)
	readWhole(name)
	w = begin()
	readWhole(name)
	report("seq_read", w.since(), whole/chunk)
}

func small() {
	all := names("f", smallFiles)
	content := make([]byte, 1024)
	keys := []string{"create", "read", "stat1", "unlink1"}
	work := []func(i, lane int){
		func(i, _ int) { must(os.WriteFile(all[i], content, 0o666)) },
		func(i, _ int) {
			_, err := os.ReadFile(all[i])
			must(err)
		},
		func(i, _ int) {
			_, err := os.Stat(all[i])
			must(err)
		},
		func(i, _ int) { must(syscall.Unlink(all[i])) },
	}
	sums := make([]spent, len(keys))
	for round := 0; round < smallRounds; round++ {
		for i := range keys {
			w := begin()
			inLanes(smallFiles, work[i])
			took := w.since()
			if round > 0 {
				sums[i].wall += took.wall
				sums[i].cpu += took.cpu
			}
		}
	}
	for i, key := range keys {
		report(key, sums[i], smallFiles*(smallRounds-1))
	}
}

func makeEmpty(all []string) {
	for _, name := range all {
		file, err := os.Create(name)
		must(err)
		must(file.Close())
	}
}

func storm() {
	sides := [2][]string{names("f", stormFiles), names("x", stormFiles)}
	makeEmpty(sides[0])
	stat := func(i, _ int) {
		_, err := os.Stat(sides[0][i%stormFiles])
		must(err)
	}
	inLanes(stormStats/10, stat)
	measured("stat", stormStats, stat)
	measured("open_close", stormStats, func(i, _ int) {
		file, err := os.Open(sides[0][i%stormFiles])
		must(err)
		must(file.Close())
	})
	measured("rename", 20*stormFiles, func(i, _ int) {
		odd := i / stormFiles % 2
		must(os.Rename(sides[odd][i%stormFiles], sides[1-odd][i%stormFiles]))
	})
	many := names("u", smallFiles)
	makeEmpty(many)
	measured("unlink", smallFiles, func(i, _ int) { must(syscall.Unlink(many[i])) })
}

func main() {
	parts := map[string]func(){"rand": random, "seq": sequential, "small": small, "storm": storm}
	below := os.Getenv("WEIR_PERF_DIR")
	if below == "" {
		below = "/tmp"
	}
	if len(os.Args) != 2 || parts[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: go_files rand|seq|small|storm")
		os.Exit(2)
	}
	place = fmt.Sprintf("%s/go-files-%d", below, os.Getpid())
	must(os.Mkdir(place, 0o777))
	parts[os.Args[1]]()
	must(os.RemoveAll(place))
}
