package peers

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"strconv"
	"sync/atomic"
	"time"
)

// Load tells how much of this host's processors is free, as a State's headroom: what a host can carry for another one is hard
// to know, but one that is busy should be asked for less. Its zero value says that all is free until Run has looked.
type Load struct{ busy atomic.Int32 } // percent

// loadPeriod is the time over which it is measured; a tenth of it counts each time, so that a burst is no reason to retarget.
const loadPeriod = time.Second

// Headroom returns the share in percent, 1 to 100: a host that is full is still better than none. Safe for concurrent use.
func (l *Load) Headroom() int { return max(1, 100-int(l.busy.Load())) }

// Run measures until ctx is done, and returns nil. A host that does not tell its load has all headroom.
func (l *Load) Run(ctx context.Context) error {
	tick := time.NewTicker(loadPeriod)
	defer tick.Stop()
	var was cpuTime
	mean := 0.0
	for {
		text, _ := os.ReadFile("/proc/stat")
		now, ok := readCPU(text)
		if ok && was.total > 0 && now.total > was.total {
			busy := 100 * (1 - float64(now.idle-was.idle)/float64(now.total-was.total))
			mean += (min(max(busy, 0), 100) - mean) / 10
			l.busy.Store(int32(mean))
		}
		was = now
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// cpuTime is what all processors did since the start, in ticks.
type cpuTime struct{ idle, total uint64 }

// readCPU reads the first line of /proc/stat (proc_stat(5)): user, nice, system, idle, iowait, irq, softirq, steal, and
// guest times, which are in user already.
func readCPU(stat []byte) (t cpuTime, ok bool) {
	line, _, _ := bytes.Cut(stat, []byte("\n"))
	words := bufio.NewScanner(bytes.NewReader(line))
	words.Split(bufio.ScanWords)
	if !words.Scan() || words.Text() != "cpu" {
		return t, false
	}
	for i := 0; i < 8 && words.Scan(); i++ {
		n, err := strconv.ParseUint(words.Text(), 10, 64)
		if err != nil {
			return t, false
		}
		t.total += n
		if i == 3 || i == 4 {
			t.idle += n
		}
	}
	return t, t.total > 0
}
