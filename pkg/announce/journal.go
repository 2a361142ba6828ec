package announce

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/anyedge/anyedge/pkg/bgp"
)

// queueLength is how many records wait for a slow disk before new ones are dropped.
const queueLength = 4096

// A Journal writes what the agent decided and what came of it, one JSON object a line, to an append-only file. Recording
// never blocks: Run writes in the background, without fsync until it ends, and what does not fit into its queue is
// dropped and counted. Lines tell when a thing happened, not when it was written; "written" never stands before the
// decision of its generation. All methods are safe for concurrent use, and a nil Journal does nothing.
type Journal struct {
	log     *slog.Logger
	site    string
	path    string
	file    io.WriteCloser
	queue   chan record
	dropped atomic.Uint64
	counts  *prometheus.CounterVec

	// What follows belongs to the goroutine of Run.
	generation uint64   // of the latest decision
	early      []record // written, and their decision is still to come
	torn       bool     // the file does not end with a whole line
	failing    bool     // the last write failed, and that was told
	told       uint64   // drops
}

// OpenJournal opens or creates a file, mode 0640, in a directory that exists; its records name the site. Nothing is
// written before Run. A nil log discards.
func OpenJournal(log *slog.Logger, path, site string) (*Journal, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o640)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("journal %s: directory %s does not exist: create it, or name another in journal.file", path, filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("journal %w", err)
	}
	j := &Journal{log: log, site: site, path: path, file: f, queue: make(chan record, queueLength), torn: tornTail(f)}
	j.counts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "anyedge", Subsystem: "announce", Name: "journal_records_total",
		Help: "Records of the decision journal by what became of them; written does not mean that the disk has them.",
	}, []string{"result"})
	for _, result := range []string{"written", "dropped", "failed"} {
		j.counts.WithLabelValues(result)
	}
	return j, nil
}

// tornTail tells whether a former process left half a line.
func tornTail(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	return err == nil && last[0] != '\n'
}

// Started records the start of a program of this version.
func (j *Journal) Started(version string) { j.record(started{time.Now(), version}) }

// Stopped records that it ends as it should.
func (j *Journal) Stopped() { j.record(stopped{time.Now()}) }

// Written records that UPDATEs left; a report of an error is not for the journal and left out.
func (j *Journal) Written(r bgp.Report) {
	if r.Err == nil {
		j.record(written{r})
	}
}

// Session records what became of a session.
func (j *Journal) Session(s SessionChange) { j.record(s) }

func (j *Journal) decision(o outcome) { j.record(o) }

func (j *Journal) bridge(b bridgeChange) { j.record(b) }

func (j *Journal) record(r record) {
	if j == nil {
		return
	}
	select {
	case j.queue <- r:
	default:
		j.dropped.Add(1)
		j.counts.WithLabelValues("dropped").Inc()
	}
}

// Run writes until ctx is done, then what was recorded before, syncs and closes the file, and returns nil: a journal that
// cannot be written is told in the log and does not stop an agent. It may be called once.
func (j *Journal) Run(ctx context.Context) error {
	if j == nil {
		<-ctx.Done()
		return nil
	}
	for {
		select {
		case r := <-j.queue:
			j.write(j.batch(r))
		case <-ctx.Done():
			j.finish()
			return nil
		}
	}
}

// finish writes what is left.
func (j *Journal) finish() {
	select {
	case r := <-j.queue:
		j.write(j.batch(r))
	default:
	}
	j.write(j.early)
	j.early = nil
	if f, ok := j.file.(*os.File); ok {
		_ = f.Sync() // a pipe or a device cannot
	}
	if err := j.file.Close(); err != nil {
		j.log.Warn("journal not closed", "file", j.path, "err", err)
	}
}

// batch returns first and all that waits, in the order to be written.
func (j *Journal) batch(first record) []record {
	var all []record
	for r := first; ; {
		all = append(all, j.order(r)...)
		select {
		case r = <-j.queue:
		default:
			return all
		}
	}
}

// order holds back what was written before its decision could be recorded: the speaker may report before Set returns.
func (j *Journal) order(r record) []record {
	switch r := r.(type) {
	case written:
		if r.Generation > j.generation {
			j.early = append(j.early, r)
			return nil
		}
	case outcome:
		return append([]record{r}, j.release(r.generation)...)
	}
	return []record{r}
}

// release returns what waited for a decision of this generation.
func (j *Journal) release(generation uint64) (due []record) {
	j.generation = max(j.generation, generation)
	var rest []record
	for _, r := range j.early {
		if w, ok := r.(written); ok && w.Generation > j.generation {
			rest = append(rest, r)
		} else {
			due = append(due, r)
		}
	}
	j.early = rest
	return due
}

// write appends records with one call, so that a reader sees whole lines.
func (j *Journal) write(records []record) {
	if len(records) == 0 {
		return
	}
	var lines bytes.Buffer
	if j.torn {
		lines.WriteByte('\n')
	}
	c := readClock()
	encoder := json.NewEncoder(&lines)
	encoder.SetEscapeHTML(false)
	for _, r := range records {
		event, at := r.at()
		h := header{Time: at.UTC().Format(time.RFC3339Nano), MonoNs: c.mono(at), Site: j.site, Event: event}
		_ = encoder.Encode(r.line(h, c)) // plain values into memory: nothing can fail
	}
	n, err := j.file.Write(lines.Bytes())
	if n > 0 {
		j.torn = lines.Bytes()[n-1] != '\n'
	}
	j.told = j.tell(len(records), err)
}

// tell counts, and logs a change for the worse or the better once.
func (j *Journal) tell(records int, err error) (dropped uint64) {
	if dropped = j.dropped.Load(); dropped > j.told {
		j.log.Warn("journal queue was full, records dropped", "file", j.path, "dropped", dropped-j.told)
	}
	result := "written"
	if err != nil {
		result = "failed"
	}
	j.counts.WithLabelValues(result).Add(float64(records))
	switch {
	case err != nil && !j.failing:
		j.log.Error("journal cannot be written, records are lost until it can", "file", j.path, "err", err)
	case err == nil && j.failing:
		j.log.Info("journal is written again", "file", j.path)
	}
	j.failing = err != nil
	return dropped
}

// Describe implements prometheus.Collector.
func (j *Journal) Describe(ch chan<- *prometheus.Desc) { j.counts.Describe(ch) }

// Collect implements prometheus.Collector; safe for concurrent use.
func (j *Journal) Collect(ch chan<- prometheus.Metric) { j.counts.Collect(ch) }
