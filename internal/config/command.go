package config

import "strings"

// command splits a command line into words.
func command(it item) []string {
	text, ok := it.text("a program and its arguments")
	if !ok {
		return nil
	}
	words, why := split(text)
	switch {
	case why != "":
		it.bad("%s", why)
	case len(words) == 0 || words[0] == "":
		it.bad("must be a program and its arguments, not empty")
	default:
		return words
	}
	return nil
}

// split knows quotes and backslashes, as containerlab does. No shell runs the line, so what a shell would expand or
// interpret is refused.
func split(line string) (words []string, why string) {
	var s splitter
	for _, r := range line {
		if why := s.take(r); why != "" {
			return nil, why
		}
	}
	switch {
	case s.quote != 0:
		return nil, "a quote is not closed"
	case s.escaped:
		return nil, "ends in a backslash"
	}
	s.end()
	return s.words, ""
}

type splitter struct {
	words   []string
	word    strings.Builder
	quote   rune // 0: outside quotes
	begun   bool // a word, perhaps an empty one in quotes
	escaped bool // by a backslash
}

func (s *splitter) take(r rune) (why string) {
	switch {
	case unprintable(string(r)) && !isBlank(r):
		return "must be without control characters"
	case s.escaped:
		s.escaped = false
		s.add(r)
	case r == '\\' && s.quote != '\'':
		s.begun, s.escaped = true, true
	case s.quote != 0:
		return s.quoted(r)
	default:
		return s.plain(r)
	}
	return ""
}

func (s *splitter) quoted(r rune) (why string) {
	switch {
	case r == s.quote:
		s.quote = 0
	case s.quote == '"' && expands(r):
		return notShell(r)
	default:
		s.add(r)
	}
	return ""
}

func (s *splitter) plain(r rune) (why string) {
	switch {
	case r == '\'' || r == '"':
		s.begun, s.quote = true, r
	case isBlank(r):
		s.end()
	case expands(r) || strings.ContainsRune("|;&<>()", r) || r == '#' && !s.begun:
		return notShell(r)
	default:
		s.add(r)
	}
	return ""
}

func (s *splitter) add(r rune) {
	s.begun = true
	s.word.WriteRune(r)
}

func (s *splitter) end() {
	if s.begun {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.begun = false
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\n' }

func expands(r rune) bool { return r == '$' || r == '`' }

func notShell(r rune) string {
	return "no shell runs this: put " + string(r) + " between single quotes, or remove it"
}
