package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// A load is what the generator does to every server.
type load struct {
	name    string
	queries string // the file of the names that are asked for
	hot     bool   // the first of them alone
	rate    int    // an open loop of so many a second; 0: as fast as answers come
	seconds float64
}

// The files of the queries.
var queriesRandom, queriesMissing string

// generator is the program that asks.
var generator string

const warmUp = 0.15 // seconds

// generated is what the generator tells.
type generated struct {
	Seconds  float64 `json:"seconds"`
	Received uint64  `json:"received"`
	Lost     uint64  `json:"lost"`
	Wrong    uint64  `json:"wrong"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
}

func generate(l load, s *server) (g generated, err error) {
	args := []string{"-c", "1", generator, "-s", s.addr().Addr().String(), "-p", strconv.Itoa(s.port), "-q", l.queries,
		"-w", fmt.Sprint(warmUp), "-t", fmt.Sprint(l.seconds), "-r", strconv.Itoa(l.rate)}
	if l.hot {
		args = append(args, "-1")
	}
	if s.echo {
		args = append(args, "-e")
	}
	cmd := exec.Command("taskset", args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return g, fmt.Errorf("generator: %w", err)
	}
	return g, json.Unmarshal(out, &g)
}

// A sample is one measurement of a server.
type sample struct {
	QPS    float64 `json:"qps"`
	CPU    float64 `json:"cpu_us_per_query"`
	Memory float64 `json:"memory_mb"`
	P50    float64 `json:"p50_us"`
	P99    float64 `json:"p99_us"`
	Lost   uint64  `json:"lost"`
	Wrong  uint64  `json:"wrong"`
}

func measure(l load, s *server) (sample, error) {
	if err := s.signal(syscall.SIGCONT); err != nil {
		return sample{}, fmt.Errorf("%s has ended: %w", s.name, err)
	}
	defer func() { _ = s.signal(syscall.SIGSTOP) }()
	before, _, err := s.used()
	if err != nil {
		return sample{}, err
	}
	g, err := generate(l, s)
	if err != nil {
		return sample{}, err
	}
	after, memory, err := s.used()
	if err != nil {
		return sample{}, err
	}
	m := sample{QPS: float64(g.Received) / g.Seconds, Memory: float64(memory) / 1e6, P50: g.P50, P99: g.P99, Lost: g.Lost, Wrong: g.Wrong}
	if g.Received > 0 { // the processor also served the warm-up
		m.CPU = float64(after-before) / float64(time.Microsecond) / float64(g.Received) * g.Seconds / (g.Seconds + warmUp)
	}
	return m, nil
}

// A row is all samples of one server under one load.
type row struct {
	Load    string   `json:"load"`
	Server  string   `json:"server"`
	Samples []sample `json:"samples"`
}

// compare measures every server under every load, in rounds: each round begins with another server, so that what the machine
// does meanwhile is spread over all.
func compare(loads []load, all []*server, rounds int, progress func(string)) ([]row, error) {
	var rows []row
	for _, l := range loads {
		for _, s := range all {
			rows = append(rows, row{Load: l.name, Server: s.name})
		}
	}
	for round := range rounds {
		for i, l := range loads {
			progress(fmt.Sprintf("round %d of %d: %s", round+1, rounds, l.name))
			for j := range all {
				k := (j + round) % len(all)
				m, err := measure(l, all[k])
				if err != nil {
					return nil, err
				}
				r := &rows[i*len(all)+k]
				r.Samples = append(r.Samples, m)
			}
		}
	}
	return rows, nil
}

// of returns one figure of all samples: its median, least and most.
func (r row) of(figure func(sample) float64) (median, least, most float64) {
	var all []float64
	for _, s := range r.Samples {
		all = append(all, figure(s))
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2, all[0], all[len(all)-1]
}
