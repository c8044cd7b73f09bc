package config

import (
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// maxDepth is how many brackets, or dashes of one line, may stand in each other,
// and how many anchors, aliases, tags and complex keys a document may have. What
// is read here needs four, and none. The parser's time grows with the cube of it,
// and it calls itself for each: a document may come from a peer.
const maxDepth = 32

// tooDeep returns the token with which the document passes maxDepth, or nil.
func tooDeep(b []byte) *token.Token {
	flow, odd, dashes, line := 0, 0, 0, 0
	for _, tk := range lexer.Tokenize(string(b)) {
		switch tk.Type {
		case token.SequenceStartType, token.MappingStartType:
			flow++
		case token.SequenceEndType, token.MappingEndType:
			flow = max(0, flow-1)
		case token.AnchorType, token.AliasType, token.TagType, token.MappingKeyType:
			odd++
		case token.SequenceEntryType:
			if dashes++; tk.Position.Line != line {
				dashes, line = 1, tk.Position.Line
			}
		}
		if max(flow, odd, dashes) > maxDepth {
			return tk
		}
	}
	return nil
}
