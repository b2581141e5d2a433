//! Where in a backbone a task's weights stand: stack, block and site.

use std::fmt;

/// A stack of blocks. A T5 has both; an encoder such as BERT has only the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stack {
    /// Reads the source.
    Encoder,
    /// Writes the target.
    Decoder,
}

impl Stack {
    /// Both, encoder first.
    pub const BOTH: [Stack; 2] = [Stack::Encoder, Stack::Decoder];
}

impl fmt::Display for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stack::Encoder => "encoder",
            Stack::Decoder => "decoder",
        })
    }
}

/// The two kinds of attention of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attention {
    /// Over the stack's own states.
    SelfAttention,
    /// Of the decoder over the encoder's output.
    CrossAttention,
}

impl Attention {
    /// The kinds that a block of `stack` has, in order.
    pub fn of(stack: Stack) -> &'static [Attention] {
        match stack {
            Stack::Encoder => &[Attention::SelfAttention],
            Stack::Decoder => &[Attention::SelfAttention, Attention::CrossAttention],
        }
    }
}

/// A site of a block: a place that gets weights of a task. Its number is the row of HyperLoader's position embedding
/// (docs/reference/hyperloader.md#embeddings-and-projector).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Site {
    /// Adapter after the feed-forward layer.
    FeedForwardAdapter = 0,
    /// Adapter after self-attention.
    SelfAttentionAdapter = 1,
    /// LoRA on the queries of self-attention.
    LoraSelfQ = 2,
    /// LoRA on the values of self-attention.
    LoraSelfV = 3,
    /// LoRA on the queries of cross-attention; the encoder's hypernetwork has its row and never uses it.
    LoraCrossQ = 4,
    /// LoRA on the values of cross-attention; the encoder's hypernetwork has its row and never uses it.
    LoraCrossV = 5,
}

impl Site {
    /// Sites that get an adapter.
    pub const ADAPTERS: [Site; 2] = [Site::FeedForwardAdapter, Site::SelfAttentionAdapter];

    /// Row of the position embedding.
    pub fn position(self) -> usize {
        self as usize
    }

    /// The kind of attention that a LoRA site belongs to; `None` for an adapter.
    pub fn attention(self) -> Option<Attention> {
        match self {
            Site::LoraSelfQ | Site::LoraSelfV => Some(Attention::SelfAttention),
            Site::LoraCrossQ | Site::LoraCrossV => Some(Attention::CrossAttention),
            Site::FeedForwardAdapter | Site::SelfAttentionAdapter => None,
        }
    }
}
