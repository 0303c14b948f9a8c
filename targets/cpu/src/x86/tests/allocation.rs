//! regalloc2's own proof, for every allocation that a test asks for: each operand reads the value it names, on every path.
//!
//! The checker's analysis expects blocks in reverse postorder (it takes what it visits too early for unknown, for good),
//! the generator's are in the order of their making. So the proof is of the same function with its blocks renumbered.

use regalloc2::checker::Checker;
use regalloc2::{MachineEnv, Output, ProgPoint};

use crate::x86::Fault;
use crate::x86::machine::{BlockId, Body, Function};
use crate::x86::regalloc::Flat;

fn successors(function: &Function, block: usize) -> Vec<usize> {
    match function.blocks[block].insts.last() {
        Some(Body::Jump(target, _)) => vec![target.0 as usize],
        Some(Body::Branch(_, then, otherwise)) => vec![then.0 as usize, otherwise.0 as usize],
        _ => vec![],
    }
}

/// The blocks that can be reached, each after one of its predecessors.
fn reverse_postorder(function: &Function) -> Vec<usize> {
    let mut seen = vec![false; function.blocks.len()];
    seen[0] = true;
    let mut stack = vec![(0, successors(function, 0))];
    let mut order = vec![];
    while let Some((block, rest)) = stack.last_mut() {
        match rest.pop() {
            Some(next) if seen[next] => {}
            Some(next) => {
                seen[next] = true;
                stack.push((next, successors(function, next)));
            }
            None => {
                order.push(*block);
                stack.pop();
            }
        }
    }
    order.reverse();
    order
}

/// Checks an allocation.
pub fn check(flat: &Flat<'_>, env: &MachineEnv, output: &Output) -> Result<(), Fault> {
    let order = reverse_postorder(flat.function);
    let place = |block: BlockId| BlockId(order.iter().position(|b| *b == block.0 as usize).expect("a block") as u32);
    let mut function = flat.function.clone();
    function.blocks = order.iter().map(|b| flat.function.blocks[*b].clone()).collect();
    for body in function.blocks.iter_mut().flat_map(|b| &mut b.insts) {
        match body {
            Body::Jump(target, _) => *target = place(*target),
            Body::Branch(_, then, otherwise) => (*then, *otherwise) = (place(*then), place(*otherwise)),
            _ => {}
        }
    }
    // The number of each instruction, before and after.
    let starts: Vec<usize> =
        flat.function.blocks.iter().scan(0, |at, b| Some(std::mem::replace(at, *at + b.insts.len()))).collect();
    let old: Vec<usize> =
        order.iter().flat_map(|b| starts[*b]..starts[*b] + flat.function.blocks[*b].insts.len()).collect();
    let mut new = vec![None; flat.insts.len()];
    old.iter().enumerate().for_each(|(n, o)| new[*o] = Some(n));
    let mut moved = output.clone();
    moved.allocs.clear();
    moved.inst_alloc_offsets.clear();
    for inst in old {
        moved.inst_alloc_offsets.push(moved.allocs.len() as u32);
        moved.allocs.extend_from_slice(output.inst_allocs(regalloc2::Inst::new(inst)));
    }
    let renumbered =
        |point: ProgPoint| new[point.inst().index()].map(|n| ProgPoint::new(regalloc2::Inst::new(n), point.pos()));
    moved.edits = output.edits.iter().filter_map(|(at, edit)| Some((renumbered(*at)?, edit.clone()))).collect();
    moved.edits.sort_by_key(|(at, _)| *at);
    let flat = Flat::new(&function);
    let mut checker = Checker::new(&flat, env);
    checker.prepare(&moved);
    checker.run().map_err(|e| Fault(format!("register allocation is wrong: {e:?}")))
}

#[test]
fn a_wrong_allocation_is_found() {
    use crate::x86::select;
    let target = nnc_desc::Target::parse("x86_64-avx2").unwrap();
    let (mut tried, mut found) = (0, 0);
    for seed in 0..60 {
        let kernel = nnc_kernels::math::expand(&nnc_kernels::generate::kernel(seed).kernel);
        let Ok((function, _)) = select::lower(&kernel, &target) else { continue };
        let flat = Flat::new(&function);
        let good = crate::x86::regalloc::allocate(&flat).unwrap();
        let env = crate::x86::regalloc::machine_env(false);
        // Two operands of an instruction trade places.
        for first in 0..good.allocs.len() - 1 {
            let (a, b) = (good.allocs[first], good.allocs[first + 1]);
            if a != b && a.as_reg().map(|r| r.class()) == b.as_reg().map(|r| r.class()) {
                let mut wrong = good.clone();
                wrong.allocs.swap(first, first + 1);
                tried += 1;
                found += usize::from(check(&flat, &env, &wrong).is_err());
                break;
            }
        }
    }
    assert!(found == tried && tried > 5, "{found} of {tried} wrong allocations found");
}
