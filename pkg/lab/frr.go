package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	frrPrograms = "/usr/lib/frr"
	frrSockets  = "/run/frr"
	frrDaemons  = "/etc/frr/daemons"
	frrConfig   = "/etc/frr/frr.conf"
)

// frrAlways run without being asked for, in this order: the others talk to the first. mgmtd came with FRR 9.
var frrAlways = []string{"mgmtd", "zebra", "staticd"}

// RunFRR runs the daemons of FRR that /etc/frr/daemons names (without that file bgpd and bfdd), configures them by
// /etc/frr/frr.conf, and ends them when ctx is done. A daemon that ends by itself ends all, with an error.
// Call it from the main thread, in the mount and network namespaces of the node.
//
// It takes the place of FRR's own watchfrr, which needs users of its own: here all daemons stay root, also the root of a
// user namespace that has no other users. For that root must be in the group frrvty, as adoptFRR and the image see to.
func RunFRR(ctx context.Context, log *slog.Logger) error {
	wanted, err := readFRRDaemons(frrDaemons)
	if err != nil {
		return err
	}
	for _, dir := range []string{frrSockets, "/var/tmp/frr"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	if err := quietVtysh(); err != nil {
		return err
	}
	d := newDaemons()
	defer d.stop()
	for _, daemon := range wanted {
		pid, err := d.startFRR(ctx, daemon)
		if err != nil {
			return fmt.Errorf("frr: %s: %w", daemon.name, err)
		}
		if daemon.name == "bfdd" && !punctual(pid) {
			log.Warn("bfdd gets no real-time scheduling here: with many routers on few cores its sessions may flap")
		}
	}
	if err := configureFRR(ctx, log); err != nil {
		return err
	}
	log.Info("frr is up", "daemons", len(wanted))
	return d.run(ctx)
}

// adoptFRR gives a lab's root an /etc/group in which root is in frrvty: FRR wants it of the user its daemons run as.
func adoptFRR(root string) error {
	const path = "/etc/group"
	groups, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.Remove(root + path); err != nil {
		return err
	}
	return os.WriteFile(root+path, withRoot(groups, "frrvty"), 0o644)
}

// withRoot adds root to the members of a group in the text of /etc/group, group(5).
func withRoot(groups []byte, name string) []byte {
	lines := strings.SplitAfter(string(groups), "\n")
	for i, line := range lines {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(fields) != 4 || fields[0] != name || slices.Contains(strings.Split(fields[3], ","), "root") {
			continue
		}
		fields[3] = strings.TrimPrefix(fields[3]+",root", ",")
		lines[i] = strings.Join(fields, ":") + "\n"
	}
	return []byte(strings.Join(lines, ""))
}

// quietVtysh makes the file that vtysh misses aloud, unless somebody bound one.
func quietVtysh() error {
	const path = "/etc/frr/vtysh.conf"
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	return os.WriteFile(path, []byte("service integrated-vtysh-config\n"), 0o644)
}

type frrDaemon struct {
	name    string
	options []string
}

// startFRR starts a daemon and waits until it listens: another one that finds no zebra tries again after 10 s only.
func (d *daemons) startFRR(ctx context.Context, daemon frrDaemon) (pid int, err error) {
	args := append([]string{"--user", "root", "--group", "root", "--log", "stdout", "--log-level", "warnings"}, daemon.options...)
	if pid, err = d.start(filepath.Join(frrPrograms, daemon.name), args...); err != nil {
		return 0, err
	}
	if daemon.name == "zebra" {
		if err := d.listening(ctx, filepath.Join(frrSockets, "zserv.api")); err != nil {
			return 0, err
		}
	}
	return pid, d.listening(ctx, filepath.Join(frrSockets, daemon.name+".vty"))
}

// configureFRR gives the whole file to all daemons, as FRR's own start does. What vtysh complains about is told: it may
// be a line that only another version knows.
func configureFRR(ctx context.Context, log *slog.Logger) error {
	if _, err := os.Stat(frrConfig); err != nil {
		return fmt.Errorf("frr: bind a configuration there: %w", err)
	}
	cmd := exec.CommandContext(ctx, "vtysh", "-b")
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("frr: vtysh: %w", err)
	}
	if complaint := bytes.TrimSpace(out); err != nil || len(complaint) > 0 {
		log.Warn("vtysh has something to say of "+frrConfig, "err", err, "said", string(complaint))
	}
	return ctx.Err()
}

// readFRRDaemons reads which daemons are to run, in FRR's own shell syntax: bgpd=yes, bgpd_options="-M rpki".
func readFRRDaemons(path string) ([]frrDaemon, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return parseFRRDaemons(strings.NewReader("bgpd=yes\nbfdd=yes\n"), hasFRR)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parseFRRDaemons(f, hasFRR)
}

func hasFRR(daemon string) bool {
	_, err := os.Stat(filepath.Join(frrPrograms, daemon))
	return err == nil
}

func parseFRRDaemons(r io.Reader, installed func(string) bool) ([]frrDaemon, error) {
	var wanted []frrDaemon
	options := map[string][]string{}
	for _, name := range frrAlways {
		if name != "mgmtd" || installed(name) {
			wanted = append(wanted, frrDaemon{name: name})
		}
	}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		key, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		value = strings.Trim(value, `"'`)
		if daemon, ok := strings.CutSuffix(key, "_options"); ok {
			options[daemon] = strings.Fields(value)
			continue
		}
		if value != "yes" || !strings.HasSuffix(key, "d") || slices.Contains(frrAlways, key) {
			continue
		}
		if !installed(key) {
			return nil, fmt.Errorf("%s: %s is not installed in %s", frrDaemons, key, frrPrograms)
		}
		wanted = append(wanted, frrDaemon{name: key})
	}
	for i := range wanted {
		wanted[i].options = options[wanted[i].name]
	}
	return wanted, lines.Err()
}
