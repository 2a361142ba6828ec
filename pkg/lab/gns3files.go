package lab

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// gns3Volumes reads what the nodes bind and adds it to files below dir, where GNS3 finds the persistent directories of a
// docker node. It returns these directories.
func (t Topology) gns3Volumes(together []Node, dir string, files map[string][]byte) ([]string, error) {
	volumes := make(map[string]bool)
	for _, n := range together {
		for _, b := range n.Binds {
			volume, contents, err := t.bound(b)
			if err != nil {
				return nil, err
			}
			if err := gns3Volume(volume); err != nil {
				return nil, err
			}
			volumes[volume] = true
			for target, content := range contents {
				name := projectPath(dir, target)
				if old, ok := files[name]; ok && !bytes.Equal(old, content) {
					return nil, fmt.Errorf("%s binds another file at %s, and in GNS3 both run in one container: choose another name",
						n.Name, target)
				}
				files[name] = content
			}
		}
	}
	sorted := slices.Sorted(maps.Keys(volumes))
	if sorted == nil {
		sorted = []string{}
	}
	return sorted, nil
}

// bound reads what a bind shows: the directory in the container, and the files by their paths there.
func (t Topology) bound(b Bind) (volume string, contents map[string][]byte, err error) {
	if !filepath.IsLocal(b.Source) {
		return "", nil, fmt.Errorf("bind %s: a GNS3 project ships its files: put it beside the topology file", b.Source)
	}
	source := filepath.Join(t.Dir, b.Source)
	info, err := os.Stat(source)
	if err != nil {
		return "", nil, fmt.Errorf("bind %s: %w", b.Source, err)
	}
	target := path.Clean(b.Target)
	if info.IsDir() {
		contents, err = tree(source, target)
		return target, contents, err
	}
	text, err := os.ReadFile(source)
	return path.Dir(target), map[string][]byte{target: text}, err
}

// tree reads the regular files below a directory.
func tree(dir, target string) (map[string][]byte, error) {
	contents := make(map[string][]byte)
	root := os.DirFS(dir)
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		contents[path.Join(target, name)], err = fs.ReadFile(root, name)
		return err
	})
	return contents, err
}

// gns3Volume checks a directory that GNS3 is to keep for a node.
func gns3Volume(dir string) error {
	switch {
	case dir == "/" || strings.ContainsAny(dir, ":\n") || strings.Contains(dir, ".."):
		return fmt.Errorf("bind %s: GNS3 cannot keep this directory: bind below one of its own, such as /etc/anyedge", dir)
	case dir == "/etc/network" || strings.HasPrefix(dir, "/etc/network/") || dir == "/etc":
		return fmt.Errorf("bind %s: GNS3 writes its own files there: bind below another directory, such as /etc/anyedge", dir)
	}
	return nil
}

func projectPath(dir, target string) string { return path.Join(dir, strings.TrimPrefix(target, "/")) }
