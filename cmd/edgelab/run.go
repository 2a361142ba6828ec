package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/anyedge/anyedge/internal/program"
	"github.com/anyedge/anyedge/internal/report/labreport"
	"github.com/anyedge/anyedge/pkg/lab"
)

// runFlags are those of `edgelab run`.
type runFlags struct {
	runs     int
	interval time.Duration
	seed     string
	out      string
}

func runCommand(labs *string) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run LAB EXPERIMENT...",
		Short: "Bring a lab up, repeat faults, measure, take the lab down",
		Long: "run repeats a fault at the site that serves the client, heals it, and measures each time what the client lost.\n" +
			"It leaves DIR/result.json and DIR/report.html; of several experiments, which are made one after the other in the\n" +
			"same lab, DIR/EXPERIMENT/result.json and report.html of each, and it ends with a table of them. \"all\" is all that\n" +
			"edgelab list shows. The exit status is 0 only when every run was measured.",
		Example: "  edgelab run quickstart service-kill --runs 20 --probe-interval 1ms\n" +
			"  edgelab run quickstart dns-kill --out out/dns\n" +
			"  edgelab run quickstart service-kill dns-kill drain --runs 20 --out out/today\n" +
			"  edgelab run quickstart all",
		Args: cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			experiments, err := f.experiments(args[1:])
			if err != nil {
				return err
			}
			return inLab(*labs, args[0], attached, func(ctx context.Context, l *lab.Lab, progress io.Writer) error {
				return measureAll(ctx, l, experiments, f.dirs(args[0], experiments), progress)
			})
		},
	}
	cmd.Flags().IntVar(&f.runs, "runs", 5, "how often each fault is repeated")
	cmd.Flags().DurationVar(&f.interval, "probe-interval", time.Millisecond, "time between two probes")
	cmd.Flags().StringVar(&f.seed, "seed", "", "of the moments at which the faults come (default: random, in the result)")
	cmd.Flags().StringVar(&f.out, "out", "", "directory for result.json and report.html (default out/LAB/EXPERIMENT)")
	return cmd
}

// experiments checks flags and names.
func (f runFlags) experiments(names []string) (experiments []lab.Experiment, err error) {
	if f.runs < 1 {
		return nil, fmt.Errorf("--runs %d: must be at least 1", f.runs)
	}
	if f.interval < 100*time.Microsecond || f.interval > time.Second {
		return nil, fmt.Errorf("--probe-interval %s: must be from 100us to 1s", f.interval)
	}
	seed, err := parseSeed(f.seed)
	if err != nil {
		return nil, err
	}
	faults, err := faultsByName(names)
	if err != nil {
		return nil, err
	}
	for _, fault := range faults {
		experiments = append(experiments, lab.Experiment{
			Fault: fault, Runs: f.runs, Seed: seed, ProbeInterval: f.interval, Version: program.Version(),
		})
	}
	return experiments, nil
}

func faultsByName(names []string) (faults []lab.Fault, err error) {
	if slices.Equal(names, []string{"all"}) {
		return lab.Faults(), nil
	}
	for i, name := range names {
		fault, err := lab.FaultByName(name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(names[:i], name) {
			return nil, fmt.Errorf("experiment %s is there twice: --runs N repeats it", name)
		}
		faults = append(faults, fault)
	}
	return faults, nil
}

// dirs returns where each experiment leaves its result: one experiment alone in the directory itself.
func (f runFlags) dirs(labName string, experiments []lab.Experiment) (dirs []string) {
	for _, e := range experiments {
		switch {
		case f.out == "":
			dirs = append(dirs, filepath.Join("out", filepath.Base(labName), e.Fault.Name))
		case len(experiments) == 1:
			dirs = append(dirs, f.out)
		default:
			dirs = append(dirs, filepath.Join(f.out, e.Fault.Name))
		}
	}
	return dirs
}

// measureAll makes the experiments one after the other, each with its result kept in its directory. One that cannot be
// measured does not keep the others from it.
func measureAll(ctx context.Context, l *lab.Lab, experiments []lab.Experiment, dirs []string, progress io.Writer) error {
	var measured []labreport.Named
	var errs []error
	for i, e := range experiments {
		e.Progress = progress
		result, err := measure(ctx, l, e, dirs[i])
		switch {
		case ctx.Err() != nil:
			return err
		case err != nil && len(experiments) > 1:
			fmt.Fprintf(progress, "%s: %v\n\n", e.Fault.Name, err)
			errs = append(errs, fmt.Errorf("%s: %w", e.Fault.Name, err))
		case err != nil:
			errs = append(errs, err)
		default:
			measured = append(measured, labreport.Named{Name: dirs[i], Result: result})
		}
	}
	if len(experiments) > 1 {
		if err := labreport.NewTable(measured...).WriteText(progress); err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// measure makes one experiment, shows its figures and keeps the result; of one that fails, the runs that were good.
func measure(ctx context.Context, l *lab.Lab, e lab.Experiment, out string) (lab.Result, error) {
	result, err := e.Run(ctx, l)
	if len(result.Runs) == 0 {
		return result, err
	}
	return result, errors.Join(err, keep(l, e.Progress, result, out))
}

// keep shows the figures of a result and leaves it in a directory.
func keep(l *lab.Lab, progress io.Writer, result lab.Result, out string) error {
	if err := result.Write(out); err != nil {
		return err
	}
	fmt.Fprintln(progress)
	if err := result.Summary(progress); err != nil {
		return err
	}
	page, err := writeReport(out, result, l.Topology)
	if err != nil {
		return err
	}
	fmt.Fprintf(progress, "%s\n%s\n\n", filepath.Join(out, "result.json"), page)
	return nil
}

func parseSeed(text string) (uint64, error) {
	if text == "" {
		return rand.Uint64(), nil
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("--seed %s: must be a whole number", text)
	}
	return seed, nil
}
