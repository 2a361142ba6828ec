package config

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// root reads the file's one YAML document. Without one the item is absent, and why is reported.
func (f *file) root(r io.Reader) item {
	data, err := io.ReadAll(r)
	if err != nil {
		f.add(1, 1, "file: cannot be read: %v", err)
		return item{f: f}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := decoder.Decode(&doc); err != nil {
		f.addSyntax(data, err)
		return item{f: f}
	}
	f.refuseSecond(decoder, data)
	root := item{f: f, node: doc.Content[0]}
	if root.node.Tag == "!!null" {
		f.add(1, 1, "file: is empty")
		return item{f: f}
	}
	return root.resolved()
}

// refuseSecond reports what follows the first document: the decoder would leave it unread without a word.
func (f *file) refuseSecond(decoder *yaml.Decoder, data []byte) {
	var doc yaml.Node
	switch err := decoder.Decode(&doc); {
	case err == nil:
		f.add(doc.Line, doc.Column, "file: holds a second document; write one file for each")
	case !errors.Is(err, io.EOF):
		f.addSyntax(data, err)
	}
}

func (f *file) addSyntax(data []byte, err error) {
	if errors.Is(err, io.EOF) {
		f.add(1, 1, "file: is empty")
		return
	}
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	line, column, text := syntaxPlace(data, text)
	f.add(line, column, "file: is not YAML: %s", text)
}

// syntaxPlace finds where a syntax error is and strips the place from its text. The library tells a line at most:
// counted from 0 by its parser, from 1 by its scanner, none for the file's first line, for bad bytes and for anchors.
func syntaxPlace(data []byte, text string) (line, column int, rest string) {
	if m := regexp.MustCompile(`^line (\d+): (?s:(.*))$`).FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		if fromParser(m[2]) {
			line++
		}
		return line, 1, m[2]
	}
	if m := regexp.MustCompile(`^unknown anchor '(.*)' referenced$`).FindStringSubmatch(text); m != nil {
		line, column = lineColumn(data, bytes.Index(data, []byte("*"+m[1])))
		return line, column, text
	}
	if strings.Contains(text, "UTF-8") || strings.Contains(text, "control characters") {
		line, column = lineColumn(data, badByte(data))
		return line, column, text
	}
	return 1, 1, text
}

// fromParser tells the parser's errors from the scanner's.
func fromParser(text string) bool {
	for _, of := range []string{"<stream-start>", "<document start>", "node content", "'-' indicator", "key", "',' or ']'", "',' or '}'"} {
		if text == "did not find expected "+of {
			return true
		}
	}
	return strings.Contains(text, "tag handle") || strings.Contains(text, "directive")
}

// badByte returns the offset of the first byte that YAML does not allow.
func badByte(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 || r < ' ' && !strings.ContainsRune("\t\r\n", r) || r == 0x7f {
			return i
		}
		i += size
	}
	return 0
}

// lineColumn turns an offset into a place, counted from 1.
func lineColumn(data []byte, offset int) (line, column int) {
	before := data[:max(offset, 0)]
	return bytes.Count(before, []byte("\n")) + 1, len(before) - bytes.LastIndexByte(before, '\n')
}
