// Package peers is how a node of the secondary site calls the others: which of
// them answer at present, what a body looks like, and who may call. Each room
// names its own methods.
package peers
