// Package reporttest looks at pages of reports in tests: as XML, for what they must never have, and in a browser.
package reporttest

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

var (
	drawing = regexp.MustCompile(`(?s)<svg .*?</svg>`)
	loads   = regexp.MustCompile(`(?i)<script|<iframe|<object|<embed|@import|url\(|(src|href|action)\s*=\s*"([^d"]|d[^a])|\son[a-z]+\s*=\s*"`)
)

// Check fails the test when a page is malformed, has a script, would load anything, or has a picture without a title
// and a description. It returns the page's text.
func Check(t testing.TB, page []byte) string {
	t.Helper()
	if found := loads.Find(page); found != nil {
		t.Errorf("the page has %q", found)
	}
	for _, svg := range drawing.FindAll(page, -1) {
		text := textOf(t, svg, true)
		if !bytes.Contains(svg, []byte("<title>")) || !bytes.Contains(svg, []byte("<desc>")) || bytes.Contains(svg, []byte("NaN")) {
			t.Errorf("a picture lacks title or description, or has what is not a number: %.300s", text)
		}
	}
	return textOf(t, page, false)
}

// textOf parses and returns the text; strict for XML, else as HTML is written.
func textOf(t testing.TB, page []byte, strict bool) string {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(page))
	if !strict {
		d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	}
	var text strings.Builder
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			t.Fatalf("malformed: %v, at: %.200s", err, page[min(len(page), max(0, int(d.InputOffset())-100)):])
		}
		if c, ok := token.(xml.CharData); ok {
			text.Write(c)
			text.WriteByte('\n')
		}
	}
}

// Show opens a page in headless Chromium. It fails the test on anything in the console and returns the screenshot.
// Without chromium in PATH the test is skipped, or fails with CI=true.
func Show(t testing.TB, page []byte) image.Image {
	t.Helper()
	said, shot := open(t, page)
	for line := range strings.Lines(said) {
		if strings.Contains(line, "CONSOLE") {
			t.Errorf("console: %s", line)
		}
	}
	return shot
}

// open returns what the browser wrote to stderr, its console among it, and the screenshot.
func open(t testing.TB, page []byte) (said string, shot image.Image) {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("chromium is missing: install the package chromium")
		}
		t.Skip("chromium is missing")
	}
	dir := t.TempDir()
	file, picture := filepath.Join(dir, "page.html"), filepath.Join(dir, "page.png")
	if err := os.WriteFile(file, page, 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--enable-logging=stderr", "--hide-scrollbars", "--window-size=1100,2400",
		"--screenshot="+picture, "file://"+file)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_RUNTIME_DIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, stderr.Bytes())
	}
	f, err := os.Open(picture)
	if err != nil {
		t.Fatalf("chromium made no screenshot: %v\n%s", err, stderr.Bytes())
	}
	defer f.Close()
	if shot, err = png.Decode(f); err != nil {
		t.Fatal(err)
	}
	return stderr.String(), shot
}

// Colors counts the pixels of every colour of a screenshot.
func Colors(shot image.Image) map[color.RGBA]int {
	counts := map[color.RGBA]int{}
	b := shot.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			counts[color.RGBAModel.Convert(shot.At(x, y)).(color.RGBA)]++
		}
	}
	return counts
}
