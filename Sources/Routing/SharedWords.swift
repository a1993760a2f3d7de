internal import Synchronization

/// Words by number that all threads read and change without a lock, and that stay where they are
/// when there get to be more of them: whoever has a copy of this has the same words.
struct SharedWords: Sendable {
  /// A power of two. Neighbours share cache lines, so that to look at all servers of a backend
  /// costs an eighth of the lines; two workers that count at the same server share one anyway.
  static let perBlock = 64

  fileprivate final class Block: Sendable {
    let words = InlineArray<64, Atomic<UInt64>> { _ in Atomic(0) }
  }

  private var blocks: [Block] = []

  var count: Int { blocks.count * SharedWords.perBlock }

  /// Makes room for the numbers below `count`; new words are 0. Copies made before do not have
  /// the new ones.
  mutating func grow(to count: Int) {
    while self.count < count { blocks.append(Block()) }
  }

  /// To read many of them in a row.
  struct Reader: ~Escapable {
    private let blocks: Span<Block>

    @_lifetime(copy blocks)
    fileprivate init(_ blocks: Span<Block>) { self.blocks = blocks }

    subscript(number: Int) -> UInt64 {
      blocks[number / SharedWords.perBlock].words[number % SharedWords.perBlock]
        .load(ordering: .relaxed)
    }
  }

  var span: Reader {
    @_lifetime(borrow self) get { Reader(blocks.span) }
  }

  func load(_ number: Int) -> UInt64 {
    blocks[number / SharedWords.perBlock].words[number % SharedWords.perBlock]
      .load(ordering: .relaxed)
  }

  func store(_ value: UInt64, at number: Int) {
    blocks[number / SharedWords.perBlock].words[number % SharedWords.perBlock]
      .store(value, ordering: .relaxed)
  }

  func add(_ amount: UInt64, at number: Int) {
    blocks[number / SharedWords.perBlock].words[number % SharedWords.perBlock]
      .wrappingAdd(amount, ordering: .relaxed)
  }

  /// - Returns: what was there, after a subtraction of one.
  func takeOne(at number: Int) -> UInt64 {
    blocks[number / SharedWords.perBlock].words[number % SharedWords.perBlock]
      .wrappingSubtract(1, ordering: .relaxed).oldValue
  }

  /// Puts what `change` makes of the word in its place, unless that is nil.
  ///
  /// - Returns: what was there before, and whether it was changed.
  @discardableResult
  func update(
    _ number: Int, _ change: (UInt64) -> UInt64?
  ) -> (before: UInt64, isChanged: Bool) {
    let block = blocks[number / SharedWords.perBlock]
    let place = number % SharedWords.perBlock
    var before = block.words[place].load(ordering: .relaxed)
    while let after = change(before) {
      let (isChanged, now) = block.words[place].weakCompareExchange(
        expected: before, desired: after, ordering: .acquiringAndReleasing)
      if isChanged { return (before, true) }
      before = now
    }
    return (before, false)
  }
}

/// How many connections there are of each thing with a number, over all workers: servers, backends
/// or listeners. Limits are exact: what is over one was never added.
package struct Tally: Sendable {
  private var words = SharedWords()

  package init(_ count: Int = 0) { words.grow(to: count) }

  /// Makes room for the numbers below `count`.
  package mutating func grow(to count: Int) { words.grow(to: count) }

  /// Adds one, unless `limit` are there already; 0 is no limit.
  package func take(_ number: Int, limit: UInt32 = 0) -> Bool {
    guard limit > 0 else {
      words.add(1, at: number)
      return true
    }
    return words.update(number) { $0 < UInt64(limit) ? $0 + 1 : nil }.isChanged
  }

  /// Takes one off again; once per `take` that was true.
  package func give(_ number: Int) {
    let before = words.takeOne(at: number)
    precondition(before > 0)
  }

  package func count(_ number: Int) -> Int { Int(words.load(number)) }

  var span: SharedWords.Reader {
    @_lifetime(borrow self) get { words.span }
  }
}
