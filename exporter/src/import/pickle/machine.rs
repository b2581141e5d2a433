//! Interprets the pickle of a PyTorch checkpoint. Of all that a pickle can name, only the functions that rebuild tensors are
//! known, and these are interpreted here: nothing is ever called.

use std::collections::HashMap;
use std::rc::Rc;

use super::error::PickleFault;

/// The most instructions of a pickle: far more than the tensors of any model need.
const MAX_INSTRUCTIONS: usize = 4 << 20;
/// The most levels of tuples, lists and dictionaries in each other.
const MAX_DEPTH: u8 = 16;

/// A value on the stack of a pickle.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    None,
    Bool,
    Int(i64),
    Float,
    Text(Rc<str>),
    Tuple(Vec<Item>, Depth),
    List(Vec<Item>, Depth),
    Dict(Vec<(Item, Item)>, Depth),
    /// A known function or class.
    Known(Known),
    Storage(Storage),
    Tensor(TensorItem),
}

/// Levels of containers, itself included.
type Depth = u8;

impl Item {
    fn depth(&self) -> Depth {
        match self {
            Self::Tuple(_, depth) | Self::List(_, depth) | Self::Dict(_, depth) => *depth,
            _ => 0,
        }
    }

    /// Whether it may be used twice: not what is filled later, and nothing whose copies could grow without limit.
    fn is_small(&self) -> bool {
        match self {
            Self::Tuple(items, depth) => *depth == 1 && items.len() <= 16,
            item => item.depth() == 0,
        }
    }
}

/// The depth of a container of these items.
fn depth_over<'a>(items: impl IntoIterator<Item = &'a Item>) -> Result<Depth, PickleFault> {
    let depth = items.into_iter().map(Item::depth).max().unwrap_or(0) + 1;
    if depth > MAX_DEPTH { Err(PickleFault::Deep) } else { Ok(depth) }
}

/// A function or class that a checkpoint of tensors may name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Known {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Size,
    /// The class of a storage, by the type of its elements.
    Storage(Elements),
}

/// The type of a storage's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Elements {
    F64,
    F32,
    F16,
    Bf16,
    /// Integers and truth values, by the name of their class.
    Other,
}

/// The bytes of one or several tensors, a file of the archive.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storage {
    pub(super) elements: Elements,
    /// Name of the file.
    pub(super) key: String,
    /// Number of elements.
    pub(super) len: usize,
}

/// A view of a storage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TensorItem {
    pub(super) storage: Storage,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Interprets `bytes` and returns the object that they describe.
pub(super) fn load(bytes: &[u8]) -> Result<Item, PickleFault> {
    let mut machine = Machine { bytes, at: 0, stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    let mut count = 0;
    while let Some(code) = machine.byte() {
        count += 1;
        if count > MAX_INSTRUCTIONS {
            return Err(PickleFault::Large);
        }
        if machine.step(code)? {
            return machine.pop();
        }
    }
    Err(PickleFault::Truncated)
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Item>,
    /// Heights of the stack.
    marks: Vec<usize>,
    /// What may be used again; `None` for what may not.
    memo: HashMap<u32, Option<Item>>,
}

impl Machine<'_> {
    /// Interprets one instruction. True after the last one.
    fn step(&mut self, code: u8) -> Result<bool, PickleFault> {
        match code {
            b'.' => return Ok(true),
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'N' => self.stack.push(Item::None),
            0x88 | 0x89 => self.stack.push(Item::Bool),
            b'K' | b'M' | b'J' | 0x8a => self.integer(code)?,
            b'G' => {
                self.take(8)?;
                self.stack.push(Item::Float);
            }
            b'X' | b'U' | b'T' | 0x8c | 0x8d => self.text(code)?,
            b'}' => self.stack.push(Item::Dict(Vec::new(), 1)),
            b']' => self.stack.push(Item::List(Vec::new(), 1)),
            b')' => self.stack.push(Item::Tuple(Vec::new(), 1)),
            b't' | 0x85..=0x87 => self.tuple(code)?,
            b'a' | b'e' | b's' | b'u' => self.fill(code)?,
            b'q' | b'r' | 0x94 => self.remember(code)?,
            b'h' | b'j' => self.recall(code)?,
            b'c' | 0x93 => self.global(code)?,
            b'Q' => self.storage()?,
            b'R' | 0x81 => self.call()?,
            // Attributes of a dictionary, such as the versions of modules: they are no tensors.
            b'b' => drop(self.pop()?),
            code => return Err(PickleFault::Instruction { code, at: self.at - 1 }),
        }
        Ok(false)
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    fn take(&mut self, count: usize) -> Result<&[u8], PickleFault> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or(PickleFault::Truncated)?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// A number of up to eight bytes, little-endian.
    fn number(&mut self, bytes: usize) -> Result<u64, PickleFault> {
        Ok(self.take(bytes)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn pop(&mut self) -> Result<Item, PickleFault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.len() > floor {
            true => self.stack.pop().ok_or(PickleFault::Order),
            false => Err(PickleFault::Order),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Item>, PickleFault> {
        let mark = self.marks.pop().ok_or(PickleFault::Order)?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn integer(&mut self, code: u8) -> Result<(), PickleFault> {
        let length = match code {
            b'K' => 1,
            b'M' => 2,
            b'J' => 4,
            _ => self.number(1)? as usize,
        };
        if length > 8 {
            return Err(PickleFault::Order);
        }
        let number = self.number(length)? as i64;
        // The numbers of one and two bytes have no sign.
        let unused = if matches!(code, b'K' | b'M') || length == 0 { 0 } else { 64 - 8 * length };
        self.stack.push(Item::Int(number << unused >> unused));
        Ok(())
    }

    fn text(&mut self, code: u8) -> Result<(), PickleFault> {
        let length = match code {
            b'U' | 0x8c => self.number(1)?,
            0x8d => self.number(8)?,
            _ => self.number(4)?,
        };
        let bytes = self.take(usize::try_from(length).map_err(|_| PickleFault::Truncated)?)?;
        let text = String::from_utf8_lossy(bytes).as_ref().into();
        self.stack.push(Item::Text(text));
        Ok(())
    }

    fn tuple(&mut self, code: u8) -> Result<(), PickleFault> {
        let items = match code {
            b't' => self.pop_to_mark()?,
            code => {
                let mut items: Vec<Item> = (0..=code - 0x85).map(|_| self.pop()).collect::<Result<_, _>>()?;
                items.reverse();
                items
            }
        };
        let depth = depth_over(&items)?;
        self.stack.push(Item::Tuple(items, depth));
        Ok(())
    }

    /// Adds items to the list or dictionary below them.
    fn fill(&mut self, code: u8) -> Result<(), PickleFault> {
        let items = match code {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_to_mark()?,
        };
        let over = depth_over(&items)?;
        match self.stack.last_mut() {
            Some(Item::List(list, depth)) => {
                *depth = over.max(*depth);
                list.extend(items);
            }
            Some(Item::Dict(dict, depth)) => {
                *depth = over.max(*depth);
                let mut items = items.into_iter();
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    dict.push((key, value));
                }
            }
            _ => return Err(PickleFault::Order),
        }
        Ok(())
    }

    fn remember(&mut self, code: u8) -> Result<(), PickleFault> {
        let place = match code {
            b'q' => self.number(1)? as u32,
            b'r' => self.number(4)? as u32,
            _ => self.memo.len() as u32,
        };
        let item = self.stack.last().ok_or(PickleFault::Order)?;
        let item = item.is_small().then(|| item.clone());
        self.memo.insert(place, item);
        Ok(())
    }

    fn recall(&mut self, code: u8) -> Result<(), PickleFault> {
        let place = self.number(if code == b'h' { 1 } else { 4 })? as u32;
        match self.memo.get(&place) {
            Some(None) => Err(PickleFault::Shared),
            Some(Some(item)) => {
                self.stack.push(item.clone());
                Ok(())
            }
            None => Err(PickleFault::Order),
        }
    }

    fn global(&mut self, code: u8) -> Result<(), PickleFault> {
        let (module, name) = match code {
            b'c' => (self.line()?, self.line()?),
            _ => match (self.pop()?, self.pop()?) {
                (Item::Text(name), Item::Text(module)) => (module.to_string(), name.to_string()),
                _ => return Err(PickleFault::Order),
            },
        };
        let known = match (module.as_str(), name.as_str()) {
            ("collections", "OrderedDict") => Known::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Known::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Known::RebuildParameter,
            ("torch", "Size") => Known::Size,
            ("torch", "DoubleStorage") => Known::Storage(Elements::F64),
            ("torch", "FloatStorage") => Known::Storage(Elements::F32),
            ("torch", "HalfStorage") => Known::Storage(Elements::F16),
            ("torch", "BFloat16Storage") => Known::Storage(Elements::Bf16),
            (
                "torch",
                "LongStorage" | "IntStorage" | "ShortStorage" | "CharStorage" | "ByteStorage" | "BoolStorage",
            ) => Known::Storage(Elements::Other),
            _ => return Err(PickleFault::Call { name: format!("{module}.{name}") }),
        };
        self.stack.push(Item::Known(known));
        Ok(())
    }

    fn line(&mut self) -> Result<String, PickleFault> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|byte| *byte == b'\n').ok_or(PickleFault::Truncated)?;
        let line = String::from_utf8_lossy(&rest[..length]).into_owned();
        self.at += length + 1;
        Ok(line)
    }

    /// A persistent id: `("storage", class, key, device, number of elements)`.
    fn storage(&mut self) -> Result<(), PickleFault> {
        let Item::Tuple(id, _) = self.pop()? else { return Err(PickleFault::Order) };
        let storage = match &id[..] {
            [
                Item::Text(kind),
                Item::Known(Known::Storage(elements)),
                Item::Text(key),
                Item::Text(_),
                Item::Int(len),
            ] if &**kind == "storage" => {
                let len = usize::try_from(*len).map_err(|_| PickleFault::Order)?;
                Storage { elements: *elements, key: key.to_string(), len }
            }
            _ => return Err(PickleFault::Order),
        };
        self.stack.push(Item::Storage(storage));
        Ok(())
    }

    /// What a known function makes of its arguments.
    fn call(&mut self) -> Result<(), PickleFault> {
        let (Item::Tuple(arguments, _), Item::Known(function)) = (self.pop()?, self.pop()?) else {
            return Err(PickleFault::Order);
        };
        let result = match (function, &arguments[..]) {
            (Known::OrderedDict, []) => Item::Dict(Vec::new(), 1),
            (Known::Size, [Item::Tuple(sizes, depth)]) => Item::Tuple(sizes.clone(), *depth),
            (Known::RebuildParameter, [Item::Tensor(tensor), ..]) => Item::Tensor(tensor.clone()),
            (
                Known::RebuildTensor,
                [
                    Item::Storage(storage),
                    Item::Int(offset),
                    Item::Tuple(shape, _),
                    Item::Tuple(strides, _),
                    rest @ ..,
                ],
            ) => {
                // Whether it has a gradient, its hooks, and then what changes the meaning of the elements, such as their sign.
                let mark = rest.get(2);
                if !matches!(mark, None | Some(Item::None)) && !is_empty(mark) {
                    return Err(PickleFault::Marked);
                }
                Item::Tensor(TensorItem {
                    storage: storage.clone(),
                    offset: usize::try_from(*offset).map_err(|_| PickleFault::Order)?,
                    shape: sizes(shape)?,
                    strides: sizes(strides)?,
                })
            }
            _ => return Err(PickleFault::Order),
        };
        self.stack.push(result);
        Ok(())
    }
}

fn is_empty(item: Option<&Item>) -> bool {
    matches!(item, Some(Item::Dict(entries, _)) if entries.is_empty())
}

fn sizes(items: &[Item]) -> Result<Vec<usize>, PickleFault> {
    let size = |item: &Item| match item {
        Item::Int(size) => usize::try_from(*size).map_err(|_| PickleFault::Order),
        _ => Err(PickleFault::Order),
    };
    items.iter().map(size).collect()
}
