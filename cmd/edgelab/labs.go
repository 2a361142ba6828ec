package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/anyedge/anyedge/internal/config"
	"github.com/anyedge/anyedge/internal/report/labreport"
	"github.com/anyedge/anyedge/pkg/lab"
)

func listCommand(labs *string) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "Show the labs, and the experiments that run in them",
		Example: "  edgelab list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return list(cmd.OutOrStdout(), *labs)
		},
	}
}

func list(out io.Writer, labs string) error {
	dir, err := labsDir(labs)
	if err != nil {
		return err
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LAB\tNODES\tLINKS\tSTATE\tFILE")
	for _, f := range topologyFiles(dir) {
		topology, err := readTopology(f)
		if err != nil {
			return err
		}
		state := "down"
		if s, err := lab.NewSandbox(topology.Name); err == nil {
			if _, err := s.Pid(); err == nil {
				state = "up"
			}
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\n", topology.Name, len(topology.Nodes), len(topology.Links), state, f)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(t, "\nEXPERIMENT\tFAULT")
	for _, f := range lab.Faults() {
		fmt.Fprintf(t, "%s\t%s\n", f.Name, f.Help)
	}
	return t.Flush()
}

func upCommand(labs *string) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:     "up LAB",
		Short:   "Bring a lab up and leave it running",
		Example: "  edgelab up quickstart\n  edgelab up quickstart --view\n  edgelab up ./my-lab/my-lab.clab.yml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			err := inLab(*labs, args[0], detached, func(ctx context.Context, l *lab.Lab, progress io.Writer) error {
				if err := l.Ready(ctx); err != nil {
					return err
				}
				fmt.Fprintf(progress, "%s is up: edgelab exec %[1]s NODE -- CMD, edgelab down %[1]s\n", l.Topology.Name)
				fmt.Fprint(progress, readyMark)
				<-ctx.Done()
				return nil
			})
			if err != nil || !watch {
				return err
			}
			return viewLab(*labs, args[0])
		},
	}
	cmd.Flags().BoolVar(&watch, "view", false, "then show it live, as `edgelab view` does")
	return cmd
}

func viewCommand(labs *string) *cobra.Command {
	return &cobra.Command{
		Use:   "view LAB",
		Short: "Show live who serves the client of a lab that is up, what it loses, and what the agents decide",
		Long: "view starts a prober in the client's node and reads the agents' journals, until Ctrl-C. Break something in another\n" +
			"terminal meanwhile: edgelab exec LAB r1 -- ip link set eth1 down",
		Example: "  edgelab view quickstart",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return viewLab(*labs, args[0]) },
	}
}

func viewLab(labs, name string) error {
	topology, err := findTopology(labs, name)
	if err != nil {
		return err
	}
	sandbox, err := lab.NewSandbox(topology.Name)
	if err != nil {
		return err
	}
	return untilSignal(func(ctx context.Context) error {
		fmt.Print("\x1b[2J")
		return lab.View(ctx, sandbox, topology, os.Stdout)
	})
}

func graphCommand(labs *string) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "graph LAB",
		Short:   "Draw a lab: a tree of text, or an SVG picture",
		Example: "  edgelab graph quickstart\n  edgelab graph quickstart -o svg > quickstart.svg",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			topology, err := findTopology(*labs, args[0])
			if err != nil {
				return err
			}
			switch format {
			case "text":
				return lab.Graph(topology, cmd.OutOrStdout())
			case "svg":
				return labreport.WriteGraph(cmd.OutOrStdout(), topology)
			default:
				return fmt.Errorf("-o %q: want text or svg", format)
			}
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or svg")
	return cmd
}

func downCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "down LAB",
		Short:   "End a lab, also after a crash; nothing stays behind",
		Example: "  edgelab down quickstart",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			sandbox, err := lab.NewSandbox(args[0])
			if err != nil {
				return err
			}
			return sandbox.Down(cmd.Context())
		},
	}
}

func execCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "exec LAB NODE -- CMD [ARG...]",
		Short: "Run a command with a node's network and files",
		Example: "  edgelab exec quickstart r0 -- ip -6 route\n" +
			"  edgelab exec quickstart client -- edgeprobe query --server 2001:db8:53::53 api.edge.example. AAAA",
		Args: cobra.MinimumNArgs(3),
		RunE: func(_ *cobra.Command, args []string) error {
			if dir := lab.SandboxDir(); dir != "" {
				return lab.ExecInside(dir, args[1], args[2:])
			}
			sandbox, err := lab.NewSandbox(args[0])
			if err != nil {
				return err
			}
			return sandbox.Exec(args[1], args[2:])
		},
	}
}

func demoCommand(labs *string) *cobra.Command {
	return &cobra.Command{
		Use:     "demo LAB",
		Short:   "Show a lab at work: who answers, and what happens when the nearest site breaks",
		Example: "  edgelab demo quickstart",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return inLab(*labs, args[0], attached, func(ctx context.Context, l *lab.Lab, progress io.Writer) error {
				return lab.Demo(ctx, l, progress)
			})
		},
	}
}

// labsDir returns the directory of the labs: the one asked for, labs/containerlab here, or the one beside the programs.
func labsDir(asked string) (string, error) {
	if asked != "" {
		return asked, nil
	}
	const usual = "labs/containerlab"
	if info, err := os.Stat(usual); err == nil && info.IsDir() {
		return usual, nil
	}
	bin, err := binDir()
	if err != nil {
		return "", err
	}
	beside := filepath.Join(bin, "..", usual)
	if info, err := os.Stat(beside); err == nil && info.IsDir() {
		return beside, nil
	}
	return "", errors.New("no labs/containerlab here or beside the programs: name one with --labs DIR")
}

func binDir() (string, error) {
	exe, err := os.Executable()
	return filepath.Dir(exe), err
}

// topologyFile finds the file of a lab given by name or by path. A lab's directory may hold variants of it beside it.
func topologyFile(labs, name string) (string, error) {
	if strings.HasSuffix(name, ".yml") || strings.HasSuffix(name, ".yaml") {
		return filepath.Abs(name)
	}
	dir, err := labsDir(labs)
	if err != nil {
		return "", err
	}
	for _, path := range topologyFiles(dir) {
		if filepath.Base(path) == name+topologySuffix {
			return filepath.Abs(path)
		}
	}
	return "", fmt.Errorf("no lab %q in %s: edgelab list shows those there are", name, dir)
}

const topologySuffix = ".clab.yml"

// topologyFiles returns the topology files below a directory of labs, in their order.
func topologyFiles(dir string) []string {
	found, _ := filepath.Glob(filepath.Join(dir, "*", "*"+topologySuffix)) // the pattern is well-formed
	return found
}

// findTopology reads the topology of a lab given by name or by path.
func findTopology(labs, name string) (lab.Topology, error) {
	path, err := topologyFile(labs, name)
	if err != nil {
		return lab.Topology{}, err
	}
	return readTopology(path)
}

func readTopology(path string) (lab.Topology, error) {
	f, err := os.Open(path)
	if err != nil {
		return lab.Topology{}, err
	}
	defer f.Close()
	return config.ParseTopology(path, f)
}

// mode tells whether the process inside outlives the command.
type mode bool

const (
	attached mode = false
	detached mode = true
)

// readyMark ends the progress that a detached lab tells the command that started it.
const readyMark = "\x04"

// inLab runs use in a lab that is up. The work is done by this program once more, inside namespaces of its own: the
// outer one only waits and passes signals on.
func inLab(labs, name string, m mode, use func(context.Context, *lab.Lab, io.Writer) error) error {
	topology, err := findTopology(labs, name)
	if err != nil {
		return err
	}
	bin, err := binDir()
	if err != nil {
		return err
	}
	if dir := lab.SandboxDir(); dir != "" {
		return inside(topology, lab.Options{State: dir, Bin: bin}, m, use)
	}
	if err := lab.CheckPrograms(topology, bin); err != nil {
		return err
	}
	return outside(topology.Name, m)
}

func inside(t lab.Topology, opts lab.Options, m mode, use func(context.Context, *lab.Lab, io.Writer) error) error {
	progress := io.Writer(os.Stdout)
	if m == detached {
		pipe := os.NewFile(4, "progress")
		defer pipe.Close()
		progress = pipe
	}
	if err := lab.EnterSandbox(); err != nil {
		return err
	}
	return untilSignal(func(ctx context.Context) error {
		return lab.Run(ctx, t, opts, func(ctx context.Context, l *lab.Lab) error { return use(ctx, l, progress) })
	})
}

// outside starts the process inside and waits for it to end, or with a detached lab to be ready.
func outside(name string, m mode) error {
	sandbox, err := lab.NewSandbox(name)
	if err != nil {
		return err
	}
	lock, err := sandbox.Prepare()
	if err != nil {
		return err
	}
	defer lock.Close()
	cmd := sandbox.Command(lock)
	if m == detached {
		return startDetached(sandbox, cmd)
	}
	defer os.RemoveAll(sandbox.Dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	return runAttached(sandbox, cmd)
}

func runAttached(sandbox lab.Sandbox, cmd *exec.Cmd) error {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return lab.StartError(err)
	}
	if err := sandbox.Record(cmd.Process.Pid); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case err := <-done:
			return exitOf(err)
		case s := <-signals:
			_ = cmd.Process.Signal(s) // Ctrl-C reaches it anyway; told twice is told once
		}
	}
}

// errTold is a failure that the process inside has explained already.
var errTold = errors.New("told inside")

func exitOf(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return errTold
	}
	return err
}

func startDetached(sandbox lab.Sandbox, cmd *exec.Cmd) error {
	log, err := os.Create(filepath.Join(sandbox.Dir, "lab.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = append(cmd.ExtraFiles, write)
	cmd.SysProcAttr.Setsid = true
	err = cmd.Start()
	_ = write.Close()
	if err != nil {
		return lab.StartError(err)
	}
	if err := sandbox.Record(cmd.Process.Pid); err != nil {
		return err
	}
	return untilReady(sandbox, cmd, read, log.Name())
}

// untilReady shows the lab's progress until it is up. Ctrl-C before that takes it down.
func untilReady(sandbox lab.Sandbox, cmd *exec.Cmd, progress io.Reader, log string) error {
	ready := make(chan bool, 1)
	go func() { ready <- showProgress(progress) }()
	return untilSignal(func(ctx context.Context) error {
		select {
		case ok := <-ready:
			if ok {
				return cmd.Process.Release()
			}
			_ = cmd.Wait()
			text, _ := os.ReadFile(log)
			_ = os.RemoveAll(sandbox.Dir)
			return fmt.Errorf("lab %s did not come up: %s", sandbox.Name, strings.TrimSpace(string(text)))
		case <-ctx.Done():
			return errors.Join(errors.New("interrupted"), sandbox.Down(context.WithoutCancel(ctx)))
		}
	})
}

// showProgress copies lines until the ready mark (true) or the end (false).
func showProgress(progress io.Reader) bool {
	buf := make([]byte, 4096)
	for {
		n, err := progress.Read(buf)
		text, ready := strings.CutSuffix(string(buf[:n]), readyMark)
		fmt.Print(text)
		if ready {
			return true
		}
		if err != nil {
			return false
		}
	}
}
