package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// hidden is where the host's own /etc and /var lie inside a lab.
const hidden = "/.host"

// own are the directories that every node has for itself, as in its container: the host's are not seen.
var own = []string{
	"/etc/anyedge", "/run/anyedge", "/var/lib/anyedge",
	"/etc/frr", "/run/frr", "/var/tmp/frr", "/etc/bird", "/run/bird", "/etc/exabgp", "/run/exabgp",
}

// newRoot gives the calling process, in a mount namespace of its own, a root in memory: the machine's programs and
// files, but fresh /run, /etc and /var that only point at the machine's, so that a node can have its own files at
// their usual paths without a trace outside. keep is a directory that must stay writable at its path. The process must
// be the first of a pid namespace of its own.
func newRoot(keep string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	root := filepath.Join(keep, "root")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("edgelab", root, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount a root in memory: %w", err)
	}
	if err := fillRoot(root, keep); err != nil {
		return fmt.Errorf("lab's root: %w", err)
	}
	return enterRoot(root)
}

func fillRoot(root, keep string) error {
	top, err := os.ReadDir("/")
	if err != nil {
		return err
	}
	for _, e := range top {
		if slices.Contains([]string{"proc", "run", "etc", "var"}, e.Name()) {
			continue
		}
		if err := show(e, root); err != nil {
			return err
		}
	}
	for _, dir := range []string{"proc", "run"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	if err := errors.Join(point(root, "/etc"), point(root, "/var")); err != nil {
		return err
	}
	if err := adoptFRR(root); err != nil {
		return err
	}
	for _, dir := range own {
		if err := os.MkdirAll(root+dir, 0o755); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(root+keep, 0o755); err != nil {
		return err
	}
	// Not recursive: the root in memory lies below keep.
	if err := unix.Mount(keep, root+keep, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s: %w", keep, err)
	}
	return nil
}

// show makes one entry of the host's root visible at the same place.
func show(e fs.DirEntry, root string) error {
	from, to := filepath.Join("/", e.Name()), filepath.Join(root, e.Name())
	switch {
	case e.Type()&fs.ModeSymlink != 0:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	case e.IsDir():
		return bind(from, to, false)
	default:
		return nil // a stray file in / is nobody's program
	}
}

// point makes dir a directory of links into the host's one, and likewise those that nodes have own directories in:
// additions stay in the lab, everything else reads through.
func point(root, dir string) error {
	if err := bind(dir, root+hidden+dir, false); err != nil {
		return err
	}
	return linkAll(root, dir)
}

func linkAll(root, dir string) error {
	if err := os.MkdirAll(root+dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case slices.Contains(own, path):
		case holdsOwn(path):
			if err := linkAll(root, path); err != nil {
				return err
			}
		default:
			if err := os.Symlink(hidden+path, root+path); err != nil {
				return err
			}
		}
	}
	return nil
}

func holdsOwn(dir string) bool {
	return slices.ContainsFunc(own, func(o string) bool { return strings.HasPrefix(o, dir+"/") })
}

// bind shows source at target, which is made if it lacks.
func bind(source, target string, readOnly bool) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if err := makeTarget(target, info.IsDir()); err != nil {
		return err
	}
	if err := unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s to %s: %w", source, target, err)
	}
	if readOnly {
		if err := unix.Mount("", target, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			return fmt.Errorf("make %s read-only: %w", target, err)
		}
	}
	return nil
}

func makeTarget(target string, dir bool) error {
	if dir {
		return os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(target, os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

func enterRoot(root string) error {
	old := filepath.Join(root, ".old")
	if err := os.MkdirAll(old, 0o700); err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	if err := unix.PivotRoot(root, old); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Unmount("/.old", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	if err := os.Remove("/.old"); err != nil {
		return err
	}
	if err := os.Chdir(dir); err != nil {
		return os.Chdir("/") // a directory below /run or /tmp may not be there any more
	}
	return nil
}
